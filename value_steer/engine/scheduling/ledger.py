"""The outcome of each request, and the totals of the engine: nothing happens unseen.

It is kept where the scheduler is, which alone knows what was given out. A worker in the same
process reads it there; a worker in another one is told by the next message.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from value_steer.engine.delivery.report import Ending
from value_steer.engine.scheduling.outcomes import Counters, Outcome, callers_id
from value_steer.engine.scheduling.sums import Batch, Running, histogram
from value_steer.request_settings import AbstainAction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from value_steer.engine.delivery.report import Span, StepReport
    from value_steer.engine.scheduling.recording import Recording

CAPACITY = 10_000
"""Finished requests whose outcomes are kept."""


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
        self._running: dict[str, Running] = {}
        self._batch = Batch((), {})

    @property
    def counters(self) -> Counters:
        """The totals, up to the last step."""
        self._settle()
        counters = self._counters
        return replace(counters, p_good=[*counters.p_good], p_undesirable=[*counters.p_undesirable])

    def __len__(self) -> int:
        return len(self._running)

    def take(self, report: StepReport, ids: Sequence[str], lost: Collection[str] = ()) -> None:
        """Take in what a worker said of a step.

        Args:
            report: What it said; what counts nowhere is taken out of it.
            ids: The rows of the step.
            lost: Requests whose tokens of this step the scheduler drops; they run it again.
        """
        for request_id, admitted in report.admitted.items():
            if request_id in self._running:  # it comes back after a preemption
                continue
            self._running[request_id] = Running(admitted)
            self._counters.unendable += admitted.unendable
        if report.admitted or ids != self._batch.ids:
            self._settle()
            self._batch = Batch(ids, self._running)
        if lost:
            _leave_out(report, ids, lost)
        self._leave_out_stop_tokens(report, ids)
        self._batch.add(report, self._counters)
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

    def take_span(self, request_id: str, span: Span, tokens: int) -> None:
        """Take in what a worker said of a request that a step gave several tokens.

        Args:
            request_id: The request.
            span: What it said.
            tokens: How many of them the scheduler has taken; it drops what follows an end.
        """
        self._settle()
        one = self._running.get(request_id)
        if one is None:
            return
        at = np.arange(span.position, span.position + len(span.p_good))
        good = span.p_good[:tokens]
        seen = ~np.isnan(good) & (at[:tokens] > one.judged_at)
        if not seen.any():
            return
        values = good[seen]
        self._counters.judged += len(values)
        self._counters.p_good = (histogram(values) + self._counters.p_good).tolist()
        one.judge(values, at[:tokens][seen])

    def running(self, request_id: str) -> Running | None:
        """The sums of a request so far; ``None`` if no worker ever spoke of it."""
        self._settle()
        return self._running.get(request_id)

    def count_recording(self, recording: Recording) -> None:
        """Count what came of recording an answer."""
        self._counters.recorded += recording.answers
        self._counters.swallowed_errors += recording.errors

    def close(
        self, request_id: str, ending: Ending | None, tokens: int, arrived: float
    ) -> Outcome | None:
        """A request has finished: its outcome is final.

        Args:
            request_id: The request.
            ending: Why value-steer ended it; ``None`` if it did not.
            tokens: Response tokens, the stop token counted.
            arrived: When it was asked for, in seconds since the epoch.

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
            arrived=arrived,
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
            values=tuple(one.values) if admitted.keeps_values else None,
            undesirable=tuple(one.undesirable) if admitted.keeps_values else None,
            control=admitted.control,
        )
        self._counters.finished += 1
        self._counters.abstained += abstained
        self._counters.thinking_ended += action is AbstainAction.END_THINKING
        self._counters.exhausted += abstained and ending is Ending.NO_ACCEPTABLE
        self._counters.refused += admitted.refusal is not None
        self._counters.controls += admitted.control
        left_alone = not (outcome.steered or admitted.control)
        self._counters.exempt += admitted.refusal is None and left_alone
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
        self._batch.settle(self._counters)
        self._batch = Batch((), {})


def _stopped(
    one: Running, ending: Ending | None, tokens: int
) -> tuple[AbstainAction | None, int | None]:
    """The action with which a head stopped a request, and its tokens before; ``None``: none did.

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


def _leave_out(report: StepReport, ids: Sequence[str], lost: Collection[str]) -> None:
    """Take what is said of some requests out of a report."""
    rows = [row for row, name in enumerate(ids) if name in lost]
    for values in (report.p_good, report.p_undesirable):
        if values is not None:
            values[rows] = np.nan
    for names in (report.repeated, report.interventions, report.no_acceptable, report.unscored):
        names[:] = [name for name in names if name not in lost]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
