"""Value-filtered decoding of one sampled batch.

The forward pass of a step consumes the token that was sampled in the step before, so its hidden
state shows what the head thinks of that token. Each token of a filtered request is therefore held
for one step. If the head accepts it, it is given out; if not, the request takes the position again
with the next candidate, while the others go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from value_steer.engine.delivery.outbox import LateRow, Verdicts
from value_steer.engine.delivery.report import Ending
from value_steer.engine.filtering.candidates import Candidates
from value_steer.engine.filtering.held import HeldTokens
from value_steer.engine.filtering.late import FilteredRow, Memory, Sampled
from value_steer.engine.filtering.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from torch import Generator, Tensor

    from value_steer.engine.delivery.lag import Lag
    from value_steer.engine.delivery.report import StepReport
    from value_steer.engine.filtering.held import Look
    from value_steer.engine.filtering.search import FallbackRule
    from value_steer.engine.guard import Guard
    from value_steer.engine.requests import RequestTable
    from value_steer.engine.runners import Draws, ModelRunner
    from value_steer.engine.scoring import Choice

_NOTHING = Verdicts()


class ValueFilter:
    """Gives out, in every filtered row, the first candidate that the head finds acceptable.

    Args:
        score: P(undesirable) of hidden states ``[rows, hidden]`` by the head that each row has,
            the same on all ranks.
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
        score: Callable[[Tensor, Choice], Tensor],
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
        self._candidates = Candidates(table, memory, runner, fallback)
        self._max_length = max_length
        self.guard = guard
        self.late: list[LateRow] = []
        self._rows: list[FilteredRow] = []
        self._row_of: dict[str, int] = {}
        self._remembered: dict[str, int] = {}
        self._previous: list[FilteredRow] = []
        self._begun: Step | None = None

    def forget(self, request_id: str) -> None:
        """A request is over."""
        self._memory.forget(request_id)
        self._lag.forget(request_id)

    def interrupted(self, request_ids: Iterable[str]) -> None:
        """Requests begin anew; what they hold stays what the model drew at its position."""
        for name in request_ids:
            request = self._table.get(name)
            if request is not None and request.filtered.holds:
                position = self._table.length(request)
                request.filtered.drawn = position, self._memory.token(name)

    def rewound(self) -> list[tuple[Generator, Tensor]]:
        """Sources of randomness whose next draw will not be used, and their states before it."""
        if not self._held.special:
            return []
        found = []
        for one in self._rows:
            source = self._runner.generator(one.id) if self._is_discarded(one) else None
            if source is not None:
                found.append((source, source.get_state()))
        return found

    def _is_discarded(self, one: FilteredRow) -> bool:
        """Whether what the host samples in a row is not used, whatever the head says."""
        filtered = one.request.filtered
        if filtered.holds:
            return one.request.constrained
        return self._known(one) is not None

    def _known(self, one: FilteredRow) -> int | None:
        """The token that a row ends in which holds none yet, where that was decided before."""
        filtered, position = one.request.filtered, self._position(one) + 1
        if filtered.search is not None and filtered.search.position == position:
            return filtered.search.next
        if filtered.drawn is not None and filtered.drawn[0] == position:
            return filtered.drawn[1]
        return None

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
        """Decide what each row gives out, and change what the host records where it rolls it back.

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
        step = self._begun = Step(fired)
        for one in self._rows:
            # All others give out what they hold and hold what was sampled.
            if every or refused[one.row] or fired[one.row] or one.request.filtered.search:
                self._settle(one, step, values, refused=refused[one.row], output=output)
        for one in self._candidates.open(step):
            self._give_out(one, step)
        self._held.changed_by(one.request.filtered.decided for one in step.again)
        self._carry_out(step, output, report)
        report.p_undesirable = self._given_out(values, step) if look else None
        self._remember(output)
        self._begun = None
        return step.verdicts

    def pass_through(self, output: Any, fired: Sequence[bool], report: StepReport) -> Verdicts:
        """After a decision that failed: give out what is held, unjudged, and hold what is new."""
        begun, self._begun = self._begun, None
        step = Step(fired)
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

    def _carry_out(self, step: Step, output: Any, report: StepReport) -> None:
        """Change what the host records, and tell everybody who has to know."""
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
        self, one: FilteredRow, step: Step, values: np.ndarray, *, refused: bool, output: Any
    ) -> None:
        filtered = one.request.filtered
        if not filtered.holds:
            self._hold_first(one, step, output)
        elif not refused:
            self._give_out(one, step)
        elif filtered.search is None:
            step.opened.append((one, float(values[one.row])))
        elif self._candidates.refuse(one, filtered.search, float(values[one.row]), step):
            self._give_out(one, step)

    def _hold_first(self, one: FilteredRow, step: Step, output: Any) -> None:
        """Hold what was sampled, or what was to be tried before a preemption."""
        filtered = one.request.filtered
        step.verdicts.first.add(one.id)
        ends, known = step.fired[one.row], self._known(one)
        if known is None or ends:
            filtered.search = None
        else:
            output.sampled_token_ids[one.row, 0] = known
            self._rescore(one, known, step)
        search = filtered.search
        filtered.holds, filtered.drawn = True, None
        self._held.changed()
        filtered.decided = ends or (search is not None and search.settled is not None)
        if filtered.decided:
            self._table.resettle()  # who is ended already is not judged again

    def _rescore(self, one: FilteredRow, token: int, step: Step) -> None:
        """Let the log-probabilities of a row speak of a token that was decided before."""
        search = one.request.filtered.search
        if search is not None:
            self._candidates.rescore(one, search, step)
        elif one.request.wants_logprobs and (score := self._draws.take().score(one.row, token)):
            step.verdicts.scores[one.id] = score

    def _give_out(self, one: FilteredRow, step: Step) -> None:
        """The held token is given out; the row holds what was sampled after it."""
        filtered, request = one.request.filtered, one.request
        search, filtered.search = filtered.search, None
        if search is not None and search.settled is not None:
            step.report.no_acceptable.append(one.id)
        if search is not None and search.ends:
            step.report.endings[one.id] = Ending.NO_ACCEPTABLE
            step.ended[one.row] = search.refused[-1].p_undesirable
        elif search is not None and search.next != search.natural.token:
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

    def _hold_nothing(self, one: FilteredRow, step: Step) -> None:
        """Hold nothing of what was sampled."""
        step.again[one] = self._memory.token(one.id)
        step.verdicts.emptied.add(one.id)
        one.request.filtered.holds = one.request.filtered.decided = False
        self._held.changed()

    def _given_out(self, values: np.ndarray, step: Step) -> np.ndarray:
        """P(undesirable) of what each row gives out, NaN where that is nothing.

        Of a row that is ended it is the value that ended it, not that of its stop token.
        """
        nothing = step.verdicts.first | step.verdicts.again
        given = self._held.without(values, [self._row_of[name] for name in nothing])
        for row, value in step.ended.items():
            given[row] = value
        return given

    def _remember(self, output: Any) -> None:
        holding: list[str] = []
        if self._row_of is not self._remembered:
            holding = [one.id for one in self._previous if one.request.filtered.holds]
            self._remembered, self._previous = self._row_of, self._rows
        source = self._draws.take()
        self._memory.note(Sampled(self._row_of, output.sampled_token_ids, source), holding)
