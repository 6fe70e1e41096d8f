"""Value-filtered decoding of one sampled batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from value_steer.engine.draws import Redraw
from value_steer.engine.looks import Ends
from value_steer.engine.plan import Plan, Row, Verdicts
from value_steer.engine.search import FallbackRule, Search
from value_steer.errors import SteeringError
from value_steer.policy import Candidate, acceptable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from value_steer.engine.guard import Guard
    from value_steer.engine.run_ahead import Ahead, RunAhead
    from value_steer.engine.runners import Draws
    from value_steer.engine.steering import Steering


# What the scheduler takes beside a token only: it asserts that without one there is none. The
# second came with vLLM 0.31.
_WITH_FIRST_TOKEN = ("prompt_logprobs_dict", "prompt_token_id_logprobs_dict")


class ValueFilter:
    """Commits, in every filtered row, the first candidate that the head finds acceptable.

    The first candidate is the token that the host sampled. If the head objects to it, its request
    gets no token in this step and repeats it with the next candidate, while the others go on.

    Args:
        score: P(undesirable) of hidden states ``[rows, hidden]``, the same on all ranks.
        steering: The step that the sampled batch belongs to.
        run_ahead: Runs the decode step that shows what the head thinks of a token.
        draws: Draws further candidates.
        fallback: What to commit when none is acceptable.
        guard: Surrounds the decisions.
    """

    def __init__(  # noqa: PLR0913  (the parts it is made of, by name)
        self,
        *,
        score: Callable[[Tensor], Tensor],
        steering: Steering,
        run_ahead: RunAhead,
        draws: Draws,
        fallback: FallbackRule,
        guard: Guard,
    ) -> None:
        self._score = score
        self._table = steering.table
        self._steering = steering
        self._counters = steering.ledger.counters
        self._run_ahead = run_ahead
        self._draws = draws
        self._fallback = fallback
        self._guard = guard
        self._plan = Plan(-1, [], {}, [], [])

    @property
    def ahead(self) -> Ahead | None:
        """The decode step that was run ahead of the host, if there is one."""
        return self._run_ahead.kept

    def resume(self, step: Any) -> bool:
        """Give the host the step if it was run ahead; returns whether it was."""
        return self._run_ahead.resume(step)

    def __call__(self, output: Any) -> None:
        """Filter the tokens that the host has just sampled and booked.

        Args:
            output: The host's output of the step, changed where another token is committed, or
                none.

        Raises:
            SteeringError: The decision failed, and ``on_error`` is ``raise``.
        """
        if output is None or not output.req_ids:
            return
        plan = self._planned(output.req_ids)
        if not plan.steered:
            return
        done = False
        with self._guard():
            self._filter(output, plan)
            done = True
        if not done:
            self._undo(output, plan)

    def _filter(self, output: Any, plan: Plan) -> None:
        sampled = output.sampled_token_ids
        searching = self._searching(output, plan)
        for row, pending in searching:
            self._run_ahead.book(row.id, pending.position, pending.next)
        self._counters.filtered += len(plan.steered) - len(searching)
        values = self._values(plan)
        refused, verdicts = [], Verdicts()
        for row in plan.steered:
            request, value = row.request, values[row.place]
            search = request.filtered.search
            if acceptable(value, request.vfd_threshold or 0.0):
                request.filtered.p_undesirable = value
                if search is not None:
                    verdicts.committed.append((row, Candidate(search.next, value)))
            elif search is None:
                refused.append((row, Candidate(sampled[row.row][0], value)))
            else:
                self._refuse(row, search, value, verdicts)
        if refused:
            self._open(refused, verdicts)
        if refused or searching:
            self._carry_out(verdicts, output, plan)

    def _searching(self, output: Any, plan: Plan) -> list[tuple[Row, Search]]:
        """The rows that repeat a step, each with the search that it goes on with."""
        found = [(r, s) for r in plan.steered if (s := r.request.filtered.search) is not None]
        if not found:
            return found
        going_on = []
        ended = self._ended()
        for row, search in found:
            if search.position == row.request.length + self._table.age and not ended[row.row]:
                going_on.append((row, search))
            else:  # the host has cut the sequence, or abstention ends it now
                self._close(row, output)
        return going_on

    def _ended(self) -> Sequence[bool]:
        """Whether abstention ends each row in this very step."""
        fired = self._steering.fired
        flags: list[bool] = [False] * len(self._plan.ids) if fired is None else fired.tolist()
        return flags

    def _open(self, refused: list[tuple[Row, Candidate]], verdicts: Verdicts) -> None:
        """Draw further candidates where the head objects to the model's own draw."""
        ended = self._ended()
        refused = [(row, natural) for row, natural in refused if not ended[row.row]]
        redraws = [
            Redraw(row.row, row.request.candidates - 1, row.request.greedy) for row, _ in refused
        ]
        drawn = self._draws.again(redraws) if redraws else []
        for (row, natural), tokens in zip(refused, drawn, strict=True):
            request = row.request
            search = Search(request.length + self._table.age, [natural])
            search.expect(tokens, request.candidates)
            request.filtered.search = search
            self._go_on(row, search, natural, verdicts)

    def _refuse(self, row: Row, search: Search, value: float, verdicts: Verdicts) -> None:
        if search.settled is not None:
            verdicts.committed.append((row, search.settled))
            return
        tried = Candidate(search.next, value)
        search.refuse(tried)
        self._go_on(row, search, tried, verdicts)

    def _go_on(self, row: Row, search: Search, tried: Candidate, verdicts: Verdicts) -> None:
        """After an objection: the next candidate, or the fallback if none is left."""
        if search.waiting:
            verdicts.repeated.append(row)
            return
        best = self._fallback.choose(search, row.row)
        self._counters.no_acceptable += 1
        row.request.filtered.no_acceptable += 1
        if self._fallback.abstains and row.request.endable_at(search.position):
            verdicts.ended.append((row, best))
        elif best.token == tried.token:
            verdicts.committed.append((row, best))
        else:
            search.settled = best
            verdicts.repeated.append(row)

    def _carry_out(self, verdicts: Verdicts, output: Any, plan: Plan) -> None:
        changed = {}
        for row, best in verdicts.ended:
            request, position = row.request, row.request.length + self._table.age
            self._run_ahead.book(row.id, position, request.stop_token)
            self._run_ahead.without(row.id)
            kept = position - request.prompt_length
            self._steering.ledger.end(row.id, kept, 1.0 - best.p_undesirable)
            verdicts.committed.append((row, Candidate(request.stop_token, best.p_undesirable)))
        for row, candidate in verdicts.committed:
            if self._commit(row, candidate, output):
                changed[row.row] = candidate.token
        for row in verdicts.repeated:
            self._repeat(row, output, plan)
        if output.logprobs is not None and changed:
            self._draws.rewrite(output.logprobs, changed)

    def _commit(self, row: Row, candidate: Candidate, output: Any) -> bool:
        """Commit a token; returns whether it is another one than the host has just sampled."""
        filtered, search = row.request.filtered, self._close(row, output)
        filtered.p_undesirable = candidate.p_undesirable
        if candidate.token != search.natural.token:
            filtered.interventions += 1
            self._counters.interventions += 1
        changed: bool = candidate.token != output.sampled_token_ids[row.row][0]
        output.sampled_token_ids[row.row] = [candidate.token]
        return changed

    def _close(self, row: Row, output: Any) -> Search:
        """End the search of a row, and give out what waited for its token."""
        search, row.request.filtered.search = row.request.filtered.search, None
        assert search is not None  # noqa: S101  (only rows with an objection come here)
        for name, value in search.withheld.items():
            getattr(output, name)[row.id] = value
        return search

    def _repeat(self, row: Row, output: Any, plan: Plan) -> None:
        """Give out no token, and let the next step be this one again."""
        search = row.request.filtered.search
        assert search is not None  # noqa: S101  (only rows with an objection come here)
        feature = self._steering.feature
        assert feature is not None  # noqa: S101  (the batch was sampled)
        self._counters.repeated += 1
        output.sampled_token_ids[row.row] = []
        for name in _WITH_FIRST_TOKEN:
            given = getattr(output, name, {})
            if given.get(row.id) is not None:
                search.withheld[name] = given.pop(row.id)
        self._run_ahead.repeat(row.id, feature[row.row])
        if self._table.repeat(row.request):
            plan.repeat(row)

    def _undo(self, output: Any, plan: Plan) -> None:
        """Make what the host has booked what it gives out, after a decision that failed."""
        self._run_ahead.drop()
        for row in plan.steered:
            filtered, position = row.request.filtered, row.request.length + self._table.age
            self._run_ahead.book(row.id, position, output.sampled_token_ids[row.row][0])
            if filtered.search is not None:
                self._close(row, output)
            filtered.unscored += 1
        self._counters.unscored += len(plan.steered)

    def _values(self, plan: Plan) -> list[float]:
        """Run the next decode step; P(undesirable) after the token that each row ends in."""
        age = self._table.age
        positions = {name: length + age for name, length in plan.going.items()}
        look = self._run_ahead.run(Ends(positions, [count + age for count in plan.outputs]))
        values: list[float] = self._score(look.feature).tolist()
        if look.ids == list(plan.going):
            return values
        if len(values) != len(plan.going):
            msg = f"the host ran {len(values)} rows for {len(plan.going)} requests"
            raise SteeringError(msg)
        of = dict(zip(look.ids, values, strict=True))
        return [of[name] for name in plan.going]

    def _planned(self, ids: Sequence[str]) -> Plan:
        epoch = self._steering.epoch
        if self._plan.epoch != epoch or self._plan.ids != ids:
            self._plan = Plan.of(epoch, list(ids), self._table)
        return self._plan
