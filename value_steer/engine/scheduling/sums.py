"""Sums over the steps of requests that run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from value_steer.engine.scheduling.outcomes import BINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from value_steer.engine.delivery.report import Admitted, StepReport
    from value_steer.engine.scheduling.outcomes import Counters

_STEPS = 64
"""Steps that are kept before they are summed up, lest they take memory without bound."""


@dataclass(slots=True)
class Running:
    """The sums of a request that is not finished.

    Attributes:
        first_judged_at: Tokens of its sequence that abstention judged first; 0: none yet.
        judged_at: Tokens of its sequence that abstention judged last.
        kept: Response tokens before abstention fired, if it goes on after that.
    """

    admitted: Admitted
    judged: int = 0
    first_judged_at: int = 0
    judged_at: int = 0
    filtered: int = 0
    value: float = np.nan
    lowest: float = np.nan
    p_undesirable: float = np.nan
    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    kept: int | None = None
    values: list[float] = field(default_factory=list)
    undesirable: list[float] = field(default_factory=list)

    def judge(self, values: np.ndarray, at: np.ndarray) -> None:
        """Take in what abstention says of it.

        Args:
            values: P(good), one at least, in order.
            at: Tokens of the sequences that they are of.
        """
        self.judged += len(values)
        self.first_judged_at = self.first_judged_at or int(at[0])
        self.judged_at = int(at[-1])
        self.value, self.lowest = float(values[-1]), float(np.fmin(self.lowest, values.min()))
        if self.admitted.remembers_values:
            self.values += values.tolist()


class Batch:
    """Steps of the same rows, summed up together, so that one step costs next to nothing.

    Args:
        ids: Request ids, one per row.
        running: What is known of requests that run. A row may be in flight when its request ends;
            what is said of it then counts nowhere.
    """

    def __init__(self, ids: Sequence[str], running: Mapping[str, Running]) -> None:
        self.ids = list(ids)
        self._runs = [running.get(name) for name in ids]
        self._judged: list[tuple[np.ndarray, np.ndarray]] = []
        self._filtered: list[np.ndarray] = []

    def add(self, report: StepReport, counters: Counters) -> None:
        """Take in a step; what it adds to the counters may come later."""
        if report.p_good is not None and report.positions is not None:
            self._judged.append((report.p_good, report.positions))
        if report.p_undesirable is not None:
            self._filtered.append(report.p_undesirable)
        if max(len(self._judged), len(self._filtered)) >= _STEPS:
            self.settle(counters)

    def settle(self, counters: Counters) -> None:
        """Add up what was taken in."""
        if self._judged:
            self._settle_judged(counters)
        if self._filtered:
            self._settle_filtered(counters)
        self._judged, self._filtered = [], []

    def _settle_judged(self, counters: Counters) -> None:
        values, at = (np.stack(column) for column in zip(*self._judged, strict=True))
        shown = self._shown(values)
        # After a preemption the last position is judged again, and counts once.
        start = np.array([0 if one is None else one.judged_at for one in self._runs], np.int64)
        reached = np.maximum.accumulate(np.where(shown, at, 0))
        before = np.maximum(np.vstack([np.zeros_like(start), reached[:-1]]), start)
        seen = shown & (at > before)
        counters.judged += int(seen.sum())
        counters.p_good = (histogram(values[seen]) + counters.p_good).tolist()
        for row, one in self._of(seen):
            own = values[seen[:, row], row]
            one.judge(own, at[seen[:, row], row])

    def _settle_filtered(self, counters: Counters) -> None:
        values = np.stack(self._filtered)
        seen = self._shown(values)
        counters.filtered += int(seen.sum())
        counters.p_undesirable = (histogram(values[seen]) + counters.p_undesirable).tolist()
        for row, one in self._of(seen):
            own = values[seen[:, row], row]
            one.filtered += len(own)
            one.p_undesirable = float(own[-1])
            if one.admitted.remembers_values:
                one.undesirable += own.tolist()

    def _shown(self, values: np.ndarray) -> np.ndarray:
        """Where there is a value of a request that runs, ``[steps, rows]`` bool."""
        return ~np.isnan(values) & np.array([one is not None for one in self._runs], bool)

    def _of(self, seen: np.ndarray) -> Iterator[tuple[int, Running]]:
        """The rows in which anything was seen."""
        for row in np.flatnonzero(seen.any(axis=0)).tolist():
            one = self._runs[row]
            if one is not None:
                yield row, one


def histogram(values: np.ndarray) -> np.ndarray:
    """How many values lie in each of ``BINS`` equal parts of [0, 1]."""
    places = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    return np.bincount(places, minlength=BINS)
