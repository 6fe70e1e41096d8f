"""The search for an acceptable token in one row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from value_steer.config import Fallback
from value_steer.policy import Candidate, acceptable, least_penalised, least_undesirable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from value_steer.engine.requests import LiveRequest


@dataclass(slots=True)
class Search:
    """Candidates of one row: the one on trial, the ones refused, the ones to come.

    Attributes:
        request_id: The row's request.
        request: What is known of it.
        row: Its row in the sampled batch.
        token: The token that the sequence ends in now.
        waiting: Candidates still to be tried, in draw order, each once.
        refused: Candidates found unacceptable, in draw order.
        open: Whether ``token`` is on trial; a settled one is committed whatever its value.
        ends: Whether the request is ended.
    """

    request_id: str
    request: LiveRequest
    row: int
    token: int
    waiting: list[int] = field(default_factory=list)
    refused: list[Candidate] = field(default_factory=list)
    open: bool = True
    ends: bool = False

    @property
    def natural(self) -> int:
        """The token that the model drew."""
        return self.refused[0].token

    def expect(self, drawn: Sequence[int]) -> None:
        """Take further draws; with its own the request has as many as it asks for."""
        fresh = (token for token in dict.fromkeys(drawn) if token != self.token)
        self.waiting = list(fresh)[: self.request.candidates - 1]

    def judge(self, p_undesirable: float) -> bool:
        """Note the value of the token on trial.

        Returns:
            Whether the search is over with it.
        """
        threshold = self.request.vfd_threshold
        assert threshold is not None  # noqa: S101  (only filtered rows are searched)
        if acceptable(p_undesirable, threshold):
            self.open = False
        else:
            self.refused.append(Candidate(self.token, p_undesirable))
        return not self.open

    def settle(self, best: Candidate) -> bool:
        """End the search without an acceptable token.

        Returns:
            Whether the sequence now ends in another token than the one run last.
        """
        self.open = False
        moved, self.token = best.token != self.token, best.token
        return moved


@dataclass(frozen=True, slots=True)
class FallbackRule:
    """What to commit when no candidate is acceptable.

    Attributes:
        kind: The operator's choice.
        weight: Of the token's probability, for ``args``.
        probabilities: Of tokens in the distribution that a row was drawn from.
    """

    kind: Fallback
    weight: float
    probabilities: Callable[[int, Sequence[int]], Sequence[float]]

    def choose(self, search: Search) -> Candidate:
        """The candidate to commit."""
        if self.kind is Fallback.NATURAL:
            return search.refused[0]
        if self.kind is Fallback.ARGS:
            tokens = [candidate.token for candidate in search.refused]
            probabilities = self.probabilities(search.row, tokens)
            return least_penalised(search.refused, probabilities, self.weight)
        return least_undesirable(search.refused)

    def ends(self, search: Search, age: int) -> bool:
        """Whether the request is to be ended, and can be, ``age`` tokens past its length."""
        request = search.request
        return (
            self.kind is Fallback.ABSTAIN
            and request.stop_token >= 0
            and not request.constrained
            and request.length + age >= request.first_endable
        )
