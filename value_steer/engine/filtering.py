"""Value-filtered decoding of one sampled batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from value_steer.engine.draws import Redraw
from value_steer.engine.looks import Ends
from value_steer.engine.pace import Pace
from value_steer.engine.search import FallbackRule, Search
from value_steer.engine.trials import Trial
from value_steer.errors import SteeringError
from value_steer.policy import Candidate, acceptable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from value_steer.engine.guard import Guard
    from value_steer.engine.requests import LiveRequest
    from value_steer.engine.run_ahead import RunAhead
    from value_steer.engine.runners import Draws
    from value_steer.engine.steering import Steering
    from value_steer.engine.trials import Prober


_ALL = 1 << 30


@dataclass(frozen=True, slots=True)
class Plan:
    """The batch as it was when its composition last changed.

    Attributes:
        epoch: When that was.
        ids: The sampled rows.
        going: The requests that have a next decode step, and their lengths then.
        outputs: Response tokens of each of them then, the sampled one included.
        steered: The rows that are filtered: row, position among ``going``, request.
    """

    epoch: int
    ids: list[str]
    going: dict[str, int]
    outputs: list[int]
    steered: list[tuple[int, int, LiveRequest]]


class ValueFilter:
    """Commits, in every filtered row, the first candidate that the head finds acceptable.

    The first candidate is the token that the host sampled. It is committed unless the head
    objects; only then are others drawn, from the same distribution.

    Args:
        score: P(undesirable) of hidden states ``[rows, hidden]``, the same on all ranks.
        steering: The step that the sampled batch belongs to.
        run_ahead: Runs the decode step that shows what the head thinks of a token.
        prober: Runs further candidates.
        draws: Draws them.
        fallback: What to commit when none is acceptable.
        guard: Surrounds the decisions.
    """

    def __init__(  # noqa: PLR0913  (the parts it is made of, by name)
        self,
        *,
        score: Callable[[Tensor], Tensor],
        steering: Steering,
        run_ahead: RunAhead,
        prober: Prober,
        draws: Draws,
        fallback: FallbackRule,
        guard: Guard,
    ) -> None:
        self._score = score
        self._table = steering.table
        self._steering = steering
        self._run_ahead = run_ahead
        self._prober = prober
        self._draws = draws
        self._fallback = fallback
        self._guard = guard
        self._pace = Pace()
        self._plan = Plan(-1, [], {}, [], [])

    def resume(self, step: Any) -> bool:
        """Give the host the step if it was run ahead; returns whether it was."""
        return self._run_ahead.resume(step)

    def __call__(self, output: Any) -> None:
        """Filter the tokens that the host has just sampled and booked.

        Args:
            output: The host's output of the step, changed where another token is committed.

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
        values = self._values(plan)
        self._steering.ledger.counters.filtered += len(plan.steered)
        searches = []
        for row, place, request in plan.steered:
            value = values[place]
            if acceptable(value, request.vfd_threshold or 0.0):
                request.filtered.p_undesirable = value
            else:
                natural = Candidate(output.sampled_token_ids[row][0], value)
                searches.append(Search(plan.ids[row], request, row, natural))
        searches = self._without_ended(searches)
        if searches:
            self._search(searches, plan)
            self._commit(output, searches)

    def _without_ended(self, searches: list[Search]) -> list[Search]:
        """Leave the rows alone that abstention ends in this very step."""
        fired = self._steering.fired
        if not searches or fired is None:
            return searches
        flags = fired.tolist()
        return [search for search in searches if not flags[search.row]]

    def _search(self, searches: list[Search], plan: Plan) -> None:
        redraws = [Redraw(s.row, s.request.candidates - 1, s.request.greedy) for s in searches]
        for search, drawn in zip(searches, self._draws.again(redraws), strict=True):
            search.expect(drawn)
        self._prober.begin()
        breadth = self._pace.breadth
        while running := [search for search in searches if search.chosen is None]:
            breadth = min(breadth, self._prober.breadth(len(running)))
            tried = [(s, tokens) for s in running if (tokens := s.take(breadth))]
            if tried:
                self._try(tried, plan)
            self._give_up([s for s in running if s.chosen is None and not s.waiting], plan)
            breadth = _ALL  # a sequence that refuses once is likely to refuse again
        self._prober.keep([self._trial(s, [s.token], plan) for s in searches if not s.ends])

    def _try(self, tried: list[tuple[Search, list[int]]], plan: Plan) -> None:
        """Run candidates, and choose the first acceptable one of each search."""
        features = self._prober.run([self._trial(search, tokens, plan) for search, tokens in tried])
        values = iter(self._score(features).tolist())
        for search, tokens in tried:
            refused = search.judge(tokens, [next(values) for _ in tokens])
            self._pace.note(refused, accepted=search.chosen is not None)

    def _give_up(self, searches: list[Search], plan: Plan) -> None:
        """Choose the fallback of each search in which no candidate is acceptable."""
        lost = []
        for search in searches:
            search.chosen = best = self._fallback.choose(search)
            self._steering.ledger.counters.no_acceptable += 1
            search.request.filtered.no_acceptable += 1
            if self._fallback.ends(search, self._table.age):
                self._end(search, best)
            elif not self._prober.holds(search.request_id, best.token):
                lost.append(self._trial(search, [best.token], plan))
        if lost:
            self._prober.run(lost)

    def _end(self, search: Search, best: Candidate) -> None:
        """End the request of a search."""
        request, age = search.request, self._table.age
        search.ends = True
        search.chosen = Candidate(request.stop_token, best.p_undesirable)
        self._run_ahead.book(search.request_id, request.length + age, request.stop_token)
        self._run_ahead.without(search.request_id)

    def _trial(self, search: Search, tokens: list[int], plan: Plan) -> Trial:
        position = plan.going[search.request_id] + self._table.age
        return Trial(search.request_id, position, tokens)

    def _undo(self, output: Any, plan: Plan) -> None:
        """Make what the host has booked what it gives out, after a decision that failed."""
        self._run_ahead.drop()
        for row, _, request in plan.steered:
            position = request.length + self._table.age
            self._run_ahead.book(plan.ids[row], position, output.sampled_token_ids[row][0])
            request.filtered.unscored += 1
        self._steering.ledger.counters.unscored += len(plan.steered)

    def _commit(self, output: Any, searches: list[Search]) -> None:
        changed = {}
        for search in searches:
            assert search.chosen is not None  # noqa: S101  (the search is over)
            search.request.filtered.p_undesirable = search.chosen.p_undesirable
            if search.ends:
                request = search.request
                kept = request.length + self._table.age - request.prompt_length
                p_good = 1.0 - search.chosen.p_undesirable
                self._steering.ledger.end(search.request_id, kept, p_good)
            if search.chosen.token != search.natural.token:
                changed[search.row] = search.chosen.token
                output.sampled_token_ids[search.row] = [search.chosen.token]
                search.request.filtered.interventions += 1
        self._steering.ledger.counters.interventions += len(changed)
        if output.logprobs is not None and changed:
            self._draws.rewrite(output.logprobs, changed)

    def _values(self, plan: Plan) -> list[float]:
        """Run the next decode step; P(undesirable) after the sampled token of each row."""
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
        if self._plan.epoch != self._steering.epoch or self._plan.ids != ids:
            self._plan = self._lay_out(list(ids))
        return self._plan

    def _lay_out(self, ids: list[str]) -> Plan:
        requests = [self._table[name] for name in ids]
        going = {name: r.length for name, r in zip(ids, requests, strict=True) if r.complete}
        outputs = [r.length - r.prompt_length + 1 for r in requests if r.complete]
        places = {name: place for place, name in enumerate(going)}
        steered = [
            (row, places[name], r)
            for row, (name, r) in enumerate(zip(ids, requests, strict=True))
            if r.complete and r.vfd_threshold is not None
        ]
        return Plan(self._steering.epoch, ids, going, outputs, steered)
