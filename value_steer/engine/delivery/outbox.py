"""Tokens that are held until the head has judged them, one step after they were sampled.

The host gives out what a step has sampled. Here a filtered row gives out what it held, and holds
what was sampled. Whatever goes out together with a token waits with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from value_steer.engine.delivery.report import Ending, StepReport, attach

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vllm.v1.outputs import LogprobsLists, ModelRunnerOutput

# What the scheduler takes beside a token only: it asserts that without one there is none. The
# second came with vLLM 0.31.
_WITH_FIRST_TOKEN = ("prompt_logprobs_dict", "prompt_token_id_logprobs_dict")


@dataclass(frozen=True, slots=True)
class Score:
    """The entry of a token in a table of log-probabilities.

    Attributes:
        token: Its id.
        logprob: What the table says of it (a log-probability, or a logit if the engine is set so).
        rank: 1 for the most probable token of the vocabulary.
    """

    token: int
    logprob: float
    rank: int


@dataclass(frozen=True, slots=True)
class LateRow:
    """A row of the sampled batch whose tokens are given out one step late."""

    row: int
    id: str


@dataclass(slots=True)
class Verdicts:
    """The fate of the late rows of a step, where that is not giving out and holding.

    Attributes:
        first: Requests that held nothing: their sampled token is held.
        again: Requests whose held token is refused: it is replaced by the one that the row was
            given.
        emptied: Requests that give out and hold nothing then: they are sampled again.
        scores: What the tables of log-probabilities say of tokens put in place of held ones.
    """

    first: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)
    scores: dict[str, Score] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The tokens that one step gives out.

    Attributes:
        late: Its late rows.
        verdicts: What becomes of them.
        over: Requests that have ended since the step before.
        report: What the scheduler is told, but for what is still on its way from the device.
        complete: Completes the report, once the host's own copies have arrived, with the endings of
            the tokens that were sampled in this step, by row.
    """

    late: Sequence[LateRow]
    verdicts: Verdicts
    over: Sequence[str]
    report: StepReport
    complete: Callable[[StepReport], dict[str, Ending]]


@dataclass(slots=True)
class _Held:
    """A token that waits for its judgement, with what goes out beside it."""

    tokens: list[int]
    ending: Ending | None
    logprobs: LogprobsLists | None
    beside: dict[str, Any] = field(default_factory=dict)

    def rescore(self, score: Score) -> None:
        """Let its row of log-probabilities speak of another token of the same distribution."""
        if self.logprobs is None or _is_whole(self.logprobs):
            return
        ids, logprobs, ranks = (column.copy() for column in self.logprobs[:3])
        # Column 0 is the token that was chosen, the rest are the most probable ones.
        ids[0, 0], logprobs[0, 0], ranks[0] = score.token, score.logprob, score.rank
        self.logprobs = self.logprobs._replace(
            logprob_token_ids=ids, logprobs=logprobs, sampled_token_ranks=ranks
        )


class Outbox:
    """Holds tokens by request.

    With asynchronous scheduling it is used by the thread that waits for the host's copies, in the
    order of the steps; nothing else looks into it.
    """

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def pass_on(self, output: ModelRunnerOutput, delivery: Delivery) -> ModelRunnerOutput:
        """The output of a step as the scheduler gets it, changed in place."""
        for request_id in delivery.over:
            self._held.pop(request_id, None)
        report = delivery.report
        endings = delivery.complete(report)
        table, entries = output.logprobs, {}
        for late in delivery.late:
            ending = endings.pop(late.id, None)
            entry = self._exchange(output, late, ending, delivery.verdicts)
            given = entry.ending if entry is not None else None
            if given is not None:
                report.endings[late.id] = given
            if table is not None and entry is not None and entry.logprobs is not None:
                entries[late.row] = entry.logprobs
        report.endings.update(endings)
        if table is not None and entries:
            output.logprobs = _rewritten(table, entries)
        attach(output, report)
        return output

    def _exchange(
        self, output: ModelRunnerOutput, late: LateRow, ending: Ending | None, verdicts: Verdicts
    ) -> _Held | None:
        """Let a row give out what it held and hold what it got; what it gives out, if anything."""
        sampled = output.sampled_token_ids
        name, got = late.id, sampled[late.row]
        score = verdicts.scores.get(name)
        if score is not None and name not in verdicts.first:
            self._held[name].rescore(score)
        if name in verdicts.again:
            self._held[name].tokens = got
            sampled[late.row] = []
            return None
        fresh = _Held(got, ending, None)
        if output.logprobs is not None:
            fresh.logprobs = output.logprobs.slice_request(late.row, 1)
        if name in verdicts.first:
            if score is not None:
                fresh.rescore(score)
            # After a preemption the host does not make them anew.
            before = self._held.get(name)
            fresh.beside = {} if before is None else before.beside
            fresh.beside.update(_taken(output, name))
            self._held[name] = fresh
            sampled[late.row] = []
            return None
        given = self._held[name]
        if name in verdicts.emptied:
            del self._held[name]
        else:
            self._held[name] = fresh
        sampled[late.row] = given.tokens
        for attribute, value in given.beside.items():
            getattr(output, attribute)[name] = value
        return given


def _taken(output: ModelRunnerOutput, request_id: str) -> dict[str, Any]:
    """The parts that must go out with a request's first token, taken out of an output."""
    taken = {}
    for name in _WITH_FIRST_TOKEN:
        given = getattr(output, name, {})
        if given.get(request_id) is not None:
            taken[name] = given.pop(request_id)
    return taken


def _rewritten(table: LogprobsLists, entries: dict[int, LogprobsLists]) -> LogprobsLists:
    """A step's table with the rows of tokens that were sampled in an earlier step."""
    if _is_whole(table):
        whole = table.logprobs.copy()
        for row, entry in entries.items():
            whole[row] = entry.logprobs
        return table._replace(logprobs=whole)
    width = max(table.logprobs.shape[1], *(row.logprobs.shape[1] for row in entries.values()))
    ids, logprobs = _widened(table.logprob_token_ids, width), _widened(table.logprobs, width)
    ranks = table.sampled_token_ranks.copy()
    for row, entry in entries.items():
        columns = entry.logprobs.shape[1]
        ids[row, :columns], logprobs[row, :columns] = entry.logprob_token_ids, entry.logprobs
        ranks[row] = entry.sampled_token_ranks[0]
    return table._replace(logprob_token_ids=ids, logprobs=logprobs, sampled_token_ranks=ranks)


def _is_whole(table: LogprobsLists) -> bool:
    """Whether a table lists the whole vocabulary in its own order, and names no tokens."""
    return table.logprob_token_ids.ndim != 2


def _widened(columns: np.ndarray, width: int) -> np.ndarray:
    """A copy with room for rows that had more columns in their own step."""
    missing = width - columns.shape[1]
    return np.pad(columns, ((0, 0), (0, missing)))
