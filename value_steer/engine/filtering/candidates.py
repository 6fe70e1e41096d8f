"""From a refusal to the next candidate, and to the fallback when none is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.engine.filtering.draws import Redraw, redraw
from value_steer.engine.filtering.search import Search
from value_steer.policy import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.engine.filtering.late import FilteredRow, Memory, Sampled
    from value_steer.engine.filtering.search import FallbackRule
    from value_steer.engine.filtering.step import Step
    from value_steer.engine.requests import RequestTable
    from value_steer.engine.runners import ModelRunner


class Candidates:
    """Finds what a row tries next.

    Args:
        table: The live requests.
        memory: What held tokens were sampled from.
        runner: The host's.
        fallback: What to give out when no candidate is acceptable.
    """

    def __init__(
        self, table: RequestTable, memory: Memory, runner: ModelRunner, fallback: FallbackRule
    ) -> None:
        self._table = table
        self._memory = memory
        self._runner = runner
        self._fallback = fallback

    def open(self, step: Step) -> Iterator[FilteredRow]:
        """Draw further candidates where the head refuses the model's own draw.

        Yields:
            The rows that give out what they hold all the same.
        """
        for sampled, rows in self._by_batch(step).items():
            places = [sampled.row_of[one.id] for one, _ in rows]
            naturals = sampled.tokens[places, 0].tolist()
            wanted = [
                Redraw(one.id, place, one.request.candidates - 1, one.request.greedy)
                for (one, _), place in zip(rows, places, strict=True)
            ]
            drawn = redraw(sampled.source, wanted, self._runner.generator)
            for k, (one, value) in enumerate(rows):
                natural = Candidate(naturals[k], value)
                position = one.request.length + self._table.age - 1
                search = Search(position, sampled.source, places[k], [natural])
                search.expect(drawn[k], one.request.candidates)
                one.request.refuses_next = False
                one.request.filtered.search = search
                if self._go_on(one, search, natural, step):
                    yield one

    def refuse(self, one: FilteredRow, search: Search, value: float, step: Step) -> bool:
        """The head refuses a candidate; returns whether it is given out all the same."""
        return self._go_on(one, search, search.refuse(value), step)

    def rescore(self, one: FilteredRow, search: Search, step: Step) -> None:
        """Let the log-probabilities of a row speak of the token that it ends in."""
        if one.request.wants_logprobs:
            score = search.source.score(search.row, search.next)
            if score is not None:
                step.verdicts.scores[one.id] = score

    def _by_batch(self, step: Step) -> dict[Sampled, list[tuple[FilteredRow, float]]]:
        """Rows by the batch that each was sampled in: mostly one batch."""
        found: dict[Sampled, list[tuple[FilteredRow, float]]] = {}
        for one, value in step.opened:
            found.setdefault(self._memory.of(one.id), []).append((one, value))
        return found

    def _go_on(self, one: FilteredRow, search: Search, tried: Candidate, step: Step) -> bool:
        """After a refusal: the next candidate, or the fallback if none is left."""
        request = one.request
        if search.waiting:
            self._try(one, search, step)
            return False
        if self._fallback.abstains and request.endable_at(search.position):
            # Its keys and values are computed as well: a prefix cache may keep them.
            search.settled, search.ends = Candidate(request.stop_token, tried.p_undesirable), True
        else:
            search.settled = self._fallback.choose(search)
            if search.settled.token == tried.token and request.threshold is None:
                return True
        # The keys and values of the position are those of another token, or abstention has still to
        # judge the one that is given out.
        request.filtered.decided = True
        self._try(one, search, step)
        return False

    def _try(self, one: FilteredRow, search: Search, step: Step) -> None:
        """Take the position again with the search's next token."""
        step.verdicts.again.add(one.id)
        self.rescore(one, search, step)
        step.again[one] = search.next
