"""Value-filtered decoding of one sampled batch.

The forward pass of a step consumes the token that was sampled in the step before, so its hidden
state shows what the head thinks of that token. Each token of a filtered request is therefore held
for one step. If the head accepts it, it is given out; if not, the request takes the position again
with the next candidate, while the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from value_steer.engine.delivery.outbox import LateRow, Verdicts
from value_steer.engine.delivery.report import Ending, StepReport
from value_steer.engine.filtering.draws import Redraw, redraw
from value_steer.engine.filtering.held import HeldTokens
from value_steer.engine.filtering.late import FilteredRow, Memory, Sampled
from value_steer.engine.filtering.search import Search
from value_steer.policy import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor

    from value_steer.engine.delivery.lag import Lag
    from value_steer.engine.filtering.held import Look
    from value_steer.engine.filtering.search import FallbackRule
    from value_steer.engine.guard import Guard
    from value_steer.engine.requests import RequestTable
    from value_steer.engine.runners import Draws, ModelRunner

_NOTHING = Verdicts()


@dataclass(slots=True)
class _Step:
    """What is decided in one step.

    Attributes:
        fired: Rows that abstention ends in this step.
        verdicts: For the outbox.
        report: For the scheduler.
        again: Rows that take their last position again, and the token they end in.
        opened: Rows whose natural token is refused.
    """

    fired: Sequence[bool]
    verdicts: Verdicts = field(default_factory=Verdicts)
    report: StepReport = field(default_factory=StepReport)
    again: dict[FilteredRow, int] = field(default_factory=dict)
    opened: list[tuple[FilteredRow, Candidate]] = field(default_factory=list)


class ValueFilter:
    """Gives out, in every filtered row, the first candidate that the head finds acceptable.

    Args:
        score: P(undesirable) of hidden states ``[rows, hidden]``, the same on all ranks.
        table: The live requests.
        runner: The host's.
        draws: Keeps what batches are sampled from.
        lag: Learns which requests take a position again.
        memory: Keeps what is held.
        fallback: What to give out when no candidate is acceptable.
        guard: Surrounds the decisions.
        max_length: Tokens that a sequence may have.
    """

    def __init__(  # noqa: PLR0913  (the parts it is made of, by name)
        self,
        *,
        score: Callable[[Tensor], Tensor],
        table: RequestTable,
        runner: ModelRunner,
        draws: Draws,
        lag: Lag,
        memory: Memory,
        fallback: FallbackRule,
        guard: Guard,
        max_length: int,
    ) -> None:
        self._held = HeldTokens(score)
        self._table = table
        self._runner = runner
        self._draws = draws
        self._lag = lag
        self._memory = memory
        self._fallback = fallback
        self._max_length = max_length
        self.guard = guard
        self.late: list[LateRow] = []
        self._rows: list[FilteredRow] = []
        self._row_of: dict[str, int] = {}
        self._remembered: dict[str, int] = {}
        self._previous: list[FilteredRow] = []
        self._begun: _Step | None = None

    def forget(self, request_id: str) -> None:
        """A request is over."""
        self._memory.forget(request_id)
        self._lag.forget(request_id)

    def lay_out(self, ids: Sequence[str]) -> None:
        """Take in a batch whose composition changed."""
        requests = [(row, name, self._table[name]) for row, name in enumerate(ids)]
        self._rows = [
            FilteredRow(row, name, request)
            for row, name, request in requests
            if request.complete and request.vfd_threshold is not None
        ]
        self.late = [LateRow(one.row, one.id) for one in self._rows]
        self._row_of = {name: row for row, name in enumerate(ids)}
        self._longest = max((one.request.length for one in self._rows), default=0)
        self._held.lay_out(self._rows, len(ids))

    def look(self, feature: Tensor) -> Look | None:
        """Ask the head what it thinks of the tokens that the rows hold; ``None``: none does."""
        return self._held.look(feature)

    def decide(
        self, look: Look | None, output: Any, fired: Sequence[bool], report: StepReport
    ) -> Verdicts:
        """Decide what each row gives out, and change what the host books where it takes it back.

        Args:
            look: What the head said.
            output: What the host's sampler gave, changed in place.
            fired: Rows that abstention ends in this step.
            report: Completed for the filtered rows.
        """
        if not self._rows:
            return _NOTHING
        values, refused = self._held.on_host(look)
        every = self._held.special or self._longest + self._table.age >= self._max_length
        step = self._begun = _Step(fired)
        for one in self._rows:
            # All others give out what they hold and hold what was sampled.
            if every or refused[one.row] or fired[one.row] or one.request.filtered.search:
                self._settle(one, step, values, refused=refused[one.row], output=output)
        self._open(step)
        self._carry_out(step, output, report)
        report.p_undesirable = self._given_out(values, step.verdicts) if look else None
        self._remember(output)
        self._begun = None
        return step.verdicts

    def pass_through(self, output: Any, fired: Sequence[bool], report: StepReport) -> Verdicts:
        """After a decision that failed: give out what is held, unjudged, and hold what is new."""
        begun, self._begun = self._begun, None
        step = _Step(fired)
        for one in self._rows:
            filtered = one.request.filtered
            held = filtered.holds
            if begun is not None:  # it failed midway
                held = (held and one.id not in begun.verdicts.first) or (
                    one.id in begun.verdicts.emptied
                )
            filtered.holds, filtered.decided, filtered.search = True, fired[one.row], None
            if not held:
                step.verdicts.first.add(one.id)
                continue
            report.unscored.append(one.id)
            if one.request.constrained or self._is_last(one):
                self._hold_nothing(one, step)
        self._held.changed()
        self._table.resettle()
        self._carry_out(step, output, report)
        if self._rows:
            self._remember(output)
        return step.verdicts

    def _carry_out(self, step: _Step, output: Any, report: StepReport) -> None:
        """Change what the host books, and tell everybody who has to know."""
        if step.again:
            tokens = {one.row: token for one, token in step.again.items()}
            self._runner.run_again(output, tokens, list(self._row_of))
        for one in step.again:
            report.repeated.append(one.id)
            self._lag.run_again(one.id, self._position(one))
            self._table.repeat(one.request)
        if self._held.constrained:
            self._table.resettle()  # who is judged changes from step to step
        report.interventions += step.report.interventions
        report.no_acceptable += step.report.no_acceptable
        report.endings.update(step.report.endings)

    def _position(self, one: FilteredRow) -> int:
        """Of the token that a row holds, counted from 0."""
        return one.request.length + self._table.age - 1

    def _settle(
        self, one: FilteredRow, step: _Step, values: np.ndarray, *, refused: bool, output: Any
    ) -> None:
        filtered = one.request.filtered
        if not filtered.holds:
            self._hold_first(one, step, output)
        elif not refused:
            self._give_out(one, step)
        elif filtered.search is None:
            natural = Candidate(self._memory.token(one.id), float(values[one.row]))
            step.opened.append((one, natural))
        else:
            tried = filtered.search.refuse(float(values[one.row]))
            self._go_on(one, filtered.search, tried, step)

    def _hold_first(self, one: FilteredRow, step: _Step, output: Any) -> None:
        """Hold what was sampled, or the candidate that was to be tried before a preemption."""
        filtered = one.request.filtered
        step.verdicts.first.add(one.id)
        search, position = filtered.search, self._position(one) + 1
        ends = step.fired[one.row]
        if search is not None and (search.position != position or ends):
            filtered.search = search = None
        if search is not None:
            output.sampled_token_ids[one.row, 0] = search.next
            self._rescore(one, search, search.next, step)
        filtered.holds = True
        self._held.changed()
        filtered.decided = ends or (search is not None and search.settled is not None)
        if ends:
            self._table.resettle()  # it is not judged again

    def _give_out(self, one: FilteredRow, step: _Step) -> None:
        """The held token is given out; the row holds what was sampled after it."""
        filtered, request = one.request.filtered, one.request
        search, filtered.search = filtered.search, None
        if search is not None and search.next != search.natural.token:
            step.report.interventions.append(one.id)
        decided, filtered.decided = filtered.decided, step.fired[one.row]
        if decided or filtered.decided:
            self._held.changed()
            self._table.resettle()  # a request that abstention has ended is not judged again
        # A grammar's mask for this step did not know the token yet.
        if request.constrained or self._is_last(one):
            self._hold_nothing(one, step)

    def _is_last(self, one: FilteredRow) -> bool:
        """Whether a row holds the last token that its sequence has room for."""
        return self._position(one) + 1 >= self._max_length

    def _hold_nothing(self, one: FilteredRow, step: _Step) -> None:
        """What was sampled is not to be used."""
        step.again[one] = self._memory.token(one.id)
        step.verdicts.emptied.add(one.id)
        one.request.filtered.holds = one.request.filtered.decided = False
        self._held.changed()

    def _open(self, step: _Step) -> None:
        """Draw further candidates where the head refuses the model's own draw."""
        for source, rows in self._by_source(step.opened).values():
            wanted = [
                Redraw(one.id, row, one.request.candidates - 1, one.request.greedy)
                for one, _, row in rows
            ]
            drawn = redraw(source, wanted, self._runner.generator)
            for (one, natural, row), tokens in zip(rows, drawn, strict=True):
                search = Search(self._position(one), source, row, [natural])
                search.expect(tokens, one.request.candidates)
                one.request.refuses_next = False
                one.request.filtered.search = search
                self._go_on(one, search, natural, step)

    def _by_source(self, opened: Sequence[tuple[FilteredRow, Candidate]]) -> dict[int, Any]:
        """Rows with the batch that each was sampled in: mostly one batch."""
        found: dict[int, Any] = {}
        for one, natural in opened:
            sampled, row = self._memory.of(one.id)
            _, rows = found.setdefault(id(sampled), (sampled.source, []))
            rows.append((one, natural, row))
        return found

    def _go_on(self, one: FilteredRow, search: Search, tried: Candidate, step: _Step) -> None:
        """After a refusal: the next candidate, or the fallback if none is left."""
        request = one.request
        if search.waiting:
            self._try(one, search, step)
            return
        step.report.no_acceptable.append(one.id)
        best = self._fallback.choose(search)
        if self._fallback.abstains and request.endable_at(search.position):
            self._end(one, search, step)
        elif best.token == tried.token and request.threshold is None:
            search.settled = best
            self._give_out(one, step)
        else:
            # The keys and values of the position are those of another token, or abstention has
            # still to judge the one that is given out.
            search.settled = best
            request.filtered.decided = True
            self._held.changed()
            self._try(one, search, step)

    def _try(self, one: FilteredRow, search: Search, step: _Step) -> None:
        """Take the position again with the search's next token."""
        step.verdicts.again.add(one.id)
        self._rescore(one, search, search.next, step)
        step.again[one] = search.next

    def _end(self, one: FilteredRow, search: Search, step: _Step) -> None:
        """Give the request up: its stop token is given out in place of every candidate."""
        request = one.request
        step.verdicts.instead[one.id] = request.stop_token
        step.report.endings[one.id] = Ending.NO_ACCEPTABLE
        self._rescore(one, search, request.stop_token, step)
        request.filtered.search = None
        if self._is_last(one):
            self._hold_nothing(one, step)

    def _rescore(self, one: FilteredRow, search: Search, token: int, step: _Step) -> None:
        if one.request.wants_logprobs:
            score = search.source.score(search.row, token)
            if score is not None:
                step.verdicts.scores[one.id] = score

    def _given_out(self, values: np.ndarray, verdicts: Verdicts) -> np.ndarray:
        """P(undesirable) of what each row gives out, NaN where it gives out nothing."""
        nothing = verdicts.first | verdicts.again
        return self._held.without(values, [self._row_of[name] for name in nothing])

    def _remember(self, output: Any) -> None:
        holding: list[str] = []
        if self._row_of is not self._remembered:
            holding = [one.id for one in self._previous if one.request.filtered.holds]
            self._remembered, self._previous = self._row_of, self._rows
        source = self._draws.take()
        self._memory.note(Sampled(self._row_of, output.sampled_token_ids, source), holding)
