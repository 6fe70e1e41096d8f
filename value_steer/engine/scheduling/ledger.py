"""What became of each request, and what the engine has done: nothing happens unseen.

It is kept where the scheduler is, which alone knows what was given out. A worker in the same
process reads it there; a worker in another one is told by the next message.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from value_steer.engine.delivery.report import Ending
from value_steer.engine.scheduling.outcomes import BINS, Counters, Outcome, callers_id
from value_steer.request_settings import AbstainAction

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from value_steer.engine.delivery.report import Admitted, StepReport

CAPACITY = 10_000
"""Finished requests whose outcomes are kept."""


@dataclass(slots=True)
class _Running:
    """What is known so far of a request that is not finished."""

    admitted: Admitted
    judged: int = 0
    filtered: int = 0
    value: float = np.nan
    lowest: float = np.nan
    p_undesirable: float = np.nan
    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    kept: int | None = None
    values: dict[int, float] = field(default_factory=dict)
    undesirable: list[float] = field(default_factory=list)


class _Batch:
    """Sums over steps of the same rows, so that a step costs a few operations for all of them."""

    def __init__(self, ids: Sequence[str], running: Container[str] = ()) -> None:
        rows = len(ids)
        self.ids = list(ids)
        # A row may be in flight when its request ends; what is said of it then counts nowhere.
        self._runs = np.array([name in running for name in ids], bool)
        self.judged, self.filtered = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.value, self.lowest, self.p_undesirable = (
            np.full(rows, np.nan, np.float32) for _ in range(3)
        )
        self.bins_good, self.bins_undesirable = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)

    def add(self, report: StepReport) -> None:
        """Take in a step."""
        if (good := report.p_good) is not None:
            seen = ~np.isnan(good) & self._runs
            self.judged += seen
            self.value[seen] = good[seen]
            np.fmin(self.lowest, good, out=self.lowest)
            self.bins_good += _histogram(good[seen])
        if (undesirable := report.p_undesirable) is not None:
            seen = ~np.isnan(undesirable) & self._runs
            self.filtered += seen
            self.p_undesirable[seen] = undesirable[seen]
            self.bins_undesirable += _histogram(undesirable[seen])


class Ledger:
    """Keeps the outcomes of finished requests and the counters.

    Args:
        capacity: Outcomes kept; the oldest go first.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._counters = Counters()
        self._capacity = capacity
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        self._of_caller: dict[str, dict[int, Outcome]] = {}
        self._running: dict[str, _Running] = {}
        self._batch = _Batch(())
        self._detailed: list[tuple[int, _Running]] = []

    @property
    def counters(self) -> Counters:
        """The totals, up to the last step."""
        self._settle()
        counters = self._counters
        return replace(counters, p_good=[*counters.p_good], p_undesirable=[*counters.p_undesirable])

    def __len__(self) -> int:
        return len(self._running)

    def take(self, report: StepReport, ids: Sequence[str]) -> None:
        """Take in what a worker said of a step whose rows are ``ids``."""
        for request_id, admitted in report.admitted.items():
            if request_id in self._running:  # it comes back after a preemption
                continue
            self._running[request_id] = _Running(admitted)
            self._counters.unendable += admitted.unendable
        if report.admitted or ids != self._batch.ids:
            self._settle()
            self._batch = _Batch(ids, self._running)
            self._detailed = [
                (row, one)
                for row, name in enumerate(ids)
                if (one := self._running.get(name)) is not None and one.admitted.keeps_values
            ]
        self._leave_out_stop_tokens(report, ids)
        self._batch.add(report)
        for row, one in self._detailed:
            if (
                report.positions is not None
                and (value := _known_in(report.p_good, row)) is not None
            ):
                # What is computed again after a preemption is judged again.
                one.values[int(report.positions[row])] = value
            if (value := _known_in(report.p_undesirable, row)) is not None:
                one.undesirable.append(value)
        for name, kept in report.begins.items():
            if (begun := self._running.get(name)) is not None:
                begun.kept = kept
        self._counters.steps += 1
        self._counters.step_seconds += report.seconds
        self._counters.repeated += len(report.repeated)
        self._counters.swallowed_errors += report.errors
        self._counters.interventions += self._count(report.interventions, "interventions")
        self._counters.no_acceptable += self._count(report.no_acceptable, "no_acceptable")
        self._counters.unscored += self._count(report.unscored, "unscored")

    def close(self, request_id: str, ending: Ending | None, tokens: int) -> Outcome | None:
        """A request has finished: its outcome is final.

        Args:
            request_id: The request.
            ending: Why value-steer ended it; ``None`` if it did not.
            tokens: Response tokens, the stop token counted.

        Returns:
            The outcome; ``None`` if no worker ever spoke of the request.
        """
        self._settle()
        one = self._running.pop(request_id, None)
        if one is None:
            return None
        admitted = one.admitted
        action, kept = _stopped(one, ending, tokens)
        abstained = action in {AbstainAction.END, AbstainAction.MESSAGE}
        outcome = Outcome(
            request_id=request_id,
            abstained=abstained,
            ending=None if ending is None else ending.value,
            refused=admitted.refusal,
            response_tokens=kept,
            value=_known(one.value),
            threshold=admitted.threshold,
            interventions=one.interventions,
            no_acceptable=one.no_acceptable,
            unscored=one.unscored,
            p_undesirable=_known(one.p_undesirable),
            vfd_threshold=admitted.vfd_threshold,
            lowest=_known(one.lowest),
            judged=one.judged,
            action=None if action is None else action.value,
            values=tuple(one.values[at] for at in sorted(one.values))
            if admitted.keeps_values
            else None,
            undesirable=tuple(one.undesirable) if admitted.keeps_values else None,
        )
        self._counters.finished += 1
        self._counters.abstained += abstained
        self._counters.thinking_ended += action is AbstainAction.END_THINKING
        self._counters.exhausted += abstained and ending is Ending.NO_ACCEPTABLE
        self._counters.refused += admitted.refusal is not None
        self._counters.exempt += admitted.refusal is None and not outcome.steered
        self.add([outcome])
        return outcome

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Keep outcomes, each under its request's id."""
        for outcome in outcomes:
            self._outcomes.pop(outcome.request_id, None)
            self._outcomes[outcome.request_id] = outcome
            name, answer = callers_id(outcome.request_id)
            self._of_caller.setdefault(name, {})[answer] = outcome
        while len(self._outcomes) > self._capacity:
            _, oldest = self._outcomes.popitem(last=False)
            name, answer = callers_id(oldest.request_id)
            if self._of_caller.get(name, {}).get(answer) is oldest:
                del self._of_caller[name][answer]
                if not self._of_caller[name]:
                    del self._of_caller[name]

    def outcomes(self, request_ids: Iterable[str] | None = None) -> list[Outcome]:
        """The outcomes kept, oldest first, or those of some requests, where there are any."""
        if request_ids is None:
            return list(self._outcomes.values())
        return [self._outcomes[name] for name in request_ids if name in self._outcomes]

    def answers(self, name: str) -> dict[int, Outcome]:
        """The outcomes of the answers to a request, by the id that its caller knows."""
        return dict(self._of_caller.get(name, {}))

    def _leave_out_stop_tokens(self, report: StepReport, ids: Sequence[str]) -> None:
        """A filtered request ends one step late, in which its stop token was judged as well."""
        if report.p_good is None:
            return
        for name, ending in report.endings.items():
            one = self._running.get(name)
            if ending is Ending.NO_ACCEPTABLE or one is None or one.admitted.vfd_threshold is None:
                continue
            report.p_good[ids.index(name)] = np.nan

    def _count(self, request_ids: Sequence[str], what: str) -> int:
        """Count something that happened to requests; returns to how many that still run."""
        running = [one for name in request_ids if (one := self._running.get(name)) is not None]
        for one in running:
            setattr(one, what, getattr(one, what) + 1)
        return len(running)

    def _settle(self) -> None:
        """Give the sums of the batch to its requests that still run."""
        batch, self._batch, self._detailed = self._batch, _Batch(()), []
        counters = self._counters
        counters.p_good = (batch.bins_good + counters.p_good).tolist()
        counters.p_undesirable = (batch.bins_undesirable + counters.p_undesirable).tolist()
        for row, name in enumerate(batch.ids):
            one = self._running.get(name)
            if one is None:
                continue
            judged, filtered = int(batch.judged[row]), int(batch.filtered[row])
            self._counters.judged += judged
            self._counters.filtered += filtered
            if judged:
                one.judged += judged
                one.value = float(batch.value[row])
                one.lowest = float(np.fmin(one.lowest, batch.lowest[row]))
            if filtered:
                one.filtered += filtered
                one.p_undesirable = float(batch.p_undesirable[row])


def _stopped(
    one: _Running, ending: Ending | None, tokens: int
) -> tuple[AbstainAction | None, int | None]:
    """What was done when a head stopped a request, and its tokens before that; ``None``: none did.

    Args:
        one: The request.
        ending: Why value-steer ended it, if it did.
        tokens: Response tokens, the stop token counted.
    """
    # The step that judges the last token of a full response may begin what has no room.
    if one.kept is not None and one.kept < tokens and ending is not Ending.NO_ACCEPTABLE:
        return one.admitted.action, one.kept
    if ending is None:
        return None, None
    refused = one.admitted.refusal is not None
    return None if refused else AbstainAction.END, tokens - 1


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _known_in(values: np.ndarray | None, row: int) -> float | None:
    return None if values is None else _known(float(values[row]))


def _histogram(values: np.ndarray) -> np.ndarray:
    """How many values lie in each of ``BINS`` equal parts of [0, 1]."""
    places = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    return np.bincount(places, minlength=BINS)
