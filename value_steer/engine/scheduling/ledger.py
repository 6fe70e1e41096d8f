"""What became of each request, and what the engine has done: nothing happens unseen.

It is kept where the scheduler is, which alone knows what was given out. A worker in the same
process reads it there; a worker in another one is told by the next message.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from value_steer.engine.delivery.report import Admitted, Ending, StepReport

CAPACITY = 10_000
"""Finished requests whose outcomes are kept."""

_NAME = "value_steer_news"


@dataclass(slots=True)
class Counters:
    """Totals of an engine since it started.

    Attributes:
        judged: Hidden states judged by abstention.
        abstained: Requests ended by a head.
        refused: Requests ended because their own settings were wrong.
        unendable: Requests without a stop token, which abstention cannot end and leaves alone.
        filtered: Tokens given out after value filtering judged them.
        repeated: Steps in which a request took its last position again.
        interventions: Tokens given out in place of the one that the model drew.
        no_acceptable: Tokens for which no candidate was acceptable.
        unscored: Tokens given out without a judgement, after an error.
        swallowed_errors: Decisions that failed and were passed over, under
            ``on_error: passthrough``.
    """

    judged: int = 0
    abstained: int = 0
    refused: int = 0
    unendable: int = 0
    filtered: int = 0
    repeated: int = 0
    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    swallowed_errors: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What steering did to one finished request.

    Attributes:
        request_id: The engine's id of the request.
        abstained: Whether a head ended it.
        refused: Why its own settings were refused, which ended it; else ``None``.
        response_tokens: Response tokens kept when it was ended (the stop token not counted), or
            ``None`` if it ended by itself.
        value: P(good) that ended it, or the last one seen; ``None`` if it was never judged.
        threshold: The threshold that applied, ``None`` if abstention left it alone.
        interventions: Tokens given out in place of the one that the model drew.
        no_acceptable: Tokens for which no candidate was acceptable.
        unscored: Tokens given out without a judgement, after an error.
        p_undesirable: Value filtering's head after the last token given out, ``None`` if it never
            judged the request.
        vfd_threshold: Value filtering's threshold, ``None`` if it left the request alone.
        lowest: The lowest P(good) seen; ``None`` if it was never judged.
        judged: Hidden states of it that abstention judged.
        values: P(good) of every judged token in order, if the request asked for that.
        undesirable: P(undesirable) of every token given out in order, if it asked for that.
    """

    request_id: str
    abstained: bool
    refused: str | None
    response_tokens: int | None
    value: float | None
    threshold: float | None
    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    p_undesirable: float | None = None
    vfd_threshold: float | None = None
    lowest: float | None = None
    judged: int = 0
    values: tuple[float, ...] | None = None
    undesirable: tuple[float, ...] | None = None


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
    values: list[float] = field(default_factory=list)
    undesirable: list[float] = field(default_factory=list)


class _Batch:
    """Sums over steps of the same rows, so that a step costs a few operations for all of them."""

    def __init__(self, ids: Sequence[str]) -> None:
        rows = len(ids)
        self.ids = list(ids)
        self.judged, self.filtered = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.value, self.lowest, self.p_undesirable = (
            np.full(rows, np.nan, np.float32) for _ in range(3)
        )

    def add(self, report: StepReport) -> None:
        """Take in a step."""
        if (good := report.p_good) is not None:
            seen = ~np.isnan(good)
            self.judged += seen
            self.value[seen] = good[seen]
            np.fmin(self.lowest, good, out=self.lowest)
        if (undesirable := report.p_undesirable) is not None:
            seen = ~np.isnan(undesirable)
            self.filtered += seen
            self.p_undesirable[seen] = undesirable[seen]


class Ledger:
    """Keeps the outcomes of finished requests and the counters.

    Args:
        capacity: Outcomes kept; the oldest go first.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._counters = Counters()
        self._capacity = capacity
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        self._running: dict[str, _Running] = {}
        self._batch = _Batch(())
        self._detailed: list[tuple[int, _Running]] = []

    @property
    def counters(self) -> Counters:
        """The totals, up to the last step."""
        self._settle()
        return replace(self._counters)

    def __len__(self) -> int:
        return len(self._running)

    def take(self, report: StepReport, ids: Sequence[str]) -> None:
        """Take in what a worker said of a step whose rows are ``ids``."""
        for request_id, admitted in report.admitted.items():
            self._running[request_id] = _Running(admitted)
            self._counters.unendable += admitted.unendable
        if ids != self._batch.ids:
            self._settle()
            self._batch = _Batch(ids)
            self._detailed = [
                (row, one)
                for row, name in enumerate(ids)
                if (one := self._running.get(name)) is not None and one.admitted.keeps_values
            ]
        self._batch.add(report)
        for row, one in self._detailed:
            _append(one.values, report.p_good, row)
            _append(one.undesirable, report.p_undesirable, row)
        self._counters.repeated += len(report.repeated)
        self._counters.swallowed_errors += report.errors
        for request_id in report.interventions:
            if (one := self._running.get(request_id)) is not None:
                one.interventions += 1
                self._counters.interventions += 1
        for request_id in report.no_acceptable:
            if (one := self._running.get(request_id)) is not None:
                one.no_acceptable += 1
                self._counters.no_acceptable += 1
        for request_id in report.unscored:
            if (one := self._running.get(request_id)) is not None:
                one.unscored += 1
                self._counters.unscored += 1

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
        abstained = ending is not None and admitted.refusal is None
        self._counters.abstained += abstained
        self._counters.refused += admitted.refusal is not None
        outcome = Outcome(
            request_id=request_id,
            abstained=abstained,
            refused=admitted.refusal,
            response_tokens=None if ending is None else tokens - 1,
            value=_known(one.value),
            threshold=admitted.threshold,
            interventions=one.interventions,
            no_acceptable=one.no_acceptable,
            unscored=one.unscored,
            p_undesirable=_known(one.p_undesirable),
            vfd_threshold=admitted.vfd_threshold,
            lowest=_known(one.lowest),
            judged=one.judged,
            values=tuple(one.values) if admitted.keeps_values else None,
            undesirable=tuple(one.undesirable) if admitted.keeps_values else None,
        )
        self.add([outcome])
        return outcome

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Keep outcomes, each under its request's id."""
        for outcome in outcomes:
            self._outcomes.pop(outcome.request_id, None)
            self._outcomes[outcome.request_id] = outcome
        while len(self._outcomes) > self._capacity:
            self._outcomes.popitem(last=False)

    def outcomes(self, request_ids: Iterable[str] | None = None) -> list[Outcome]:
        """The outcomes kept, oldest first, or those of some requests, where there are any."""
        if request_ids is None:
            return list(self._outcomes.values())
        return [self._outcomes[name] for name in request_ids if name in self._outcomes]

    def _settle(self) -> None:
        """Give the sums of the batch to its requests that still run."""
        batch, self._batch, self._detailed = self._batch, _Batch(()), []
        for row, name in enumerate(batch.ids):
            one = self._running.get(name)
            if one is None:  # a row that was in flight when its request ended
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


@dataclass(frozen=True, slots=True)
class News:
    """What a scheduler tells the workers that live elsewhere."""

    outcomes: list[Outcome]
    counters: Counters


class Mirror:
    """A worker's view of the ledger.

    Args:
        instance: The id of the engine.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._told = Ledger()
        self._counters = Counters()

    def take(self, step: Any) -> None:
        """Read what a message of the scheduler says."""
        news: News | None = getattr(step, _NAME, None)
        if news is not None and self._near() is None:
            self._told.add(news.outcomes)
            self._counters = news.counters

    def outcomes(self, request_ids: Iterable[str] | None = None) -> list[Outcome]:
        """See :meth:`Ledger.outcomes`."""
        near = self._near()
        return (self._told if near is None else near).outcomes(request_ids)

    @property
    def counters(self) -> Counters:
        """See :attr:`Ledger.counters`."""
        near = self._near()
        return self._counters if near is None else near.counters

    def _near(self) -> Ledger | None:
        return _LEDGERS.get((os.getpid(), self._instance))


_LEDGERS: dict[tuple[int, str], Ledger] = {}


def open_ledger(instance: str) -> Ledger:
    """The ledger of an engine whose scheduler lives in this process."""
    ledger = _LEDGERS[os.getpid(), instance] = Ledger()
    return ledger


def tell(step: Any, news: News) -> None:
    """Let a message of the scheduler carry news to the workers."""
    setattr(step, _NAME, news)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _append(kept: list[float], values: np.ndarray | None, row: int) -> None:
    if values is not None and not np.isnan(values[row]):
        kept.append(float(values[row]))
