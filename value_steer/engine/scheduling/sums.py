"""What is known of requests that run, summed over steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from value_steer.engine.scheduling.outcomes import BINS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from value_steer.engine.delivery.report import Admitted, StepReport


@dataclass(slots=True)
class Running:
    """What is known so far of a request that is not finished.

    Attributes:
        judged_at: Tokens of its sequence that abstention judged last.
        kept: Response tokens before abstention fired, if it goes on after that.
    """

    admitted: Admitted
    judged: int = 0
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


class Batch:
    """Sums over steps of the same rows, so that a step costs a few operations for all of them."""

    def __init__(self, ids: Sequence[str], running: Mapping[str, Running]) -> None:
        rows = len(ids)
        self.ids = list(ids)
        # A row may be in flight when its request ends; what is said of it then counts nowhere.
        self._runs = np.array([name in running for name in ids], bool)
        found = (running.get(name) for name in ids)
        self.judged_at = np.array([0 if one is None else one.judged_at for one in found], np.int64)
        self.judged, self.filtered = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.value, self.lowest, self.p_undesirable = (
            np.full(rows, np.nan, np.float32) for _ in range(3)
        )
        self.bins_good, self.bins_undesirable = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)

    def add(self, report: StepReport) -> None:
        """Take in a step."""
        if (good := report.p_good) is not None and (at := report.positions) is not None:
            # After a preemption the last position is judged again.
            good[at <= self.judged_at] = np.nan
            seen = ~np.isnan(good) & self._runs
            self.judged_at[seen] = at[seen]
            self.judged += seen
            self.value[seen] = good[seen]
            np.fmin(self.lowest, good, out=self.lowest)
            self.bins_good += histogram(good[seen])
        if (undesirable := report.p_undesirable) is not None:
            seen = ~np.isnan(undesirable) & self._runs
            self.filtered += seen
            self.p_undesirable[seen] = undesirable[seen]
            self.bins_undesirable += histogram(undesirable[seen])


def histogram(values: np.ndarray) -> np.ndarray:
    """How many values lie in each of ``BINS`` equal parts of [0, 1]."""
    places = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    return np.bincount(places, minlength=BINS)
