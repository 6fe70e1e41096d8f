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
    """Candidates of one row: the ones refused, and the ones to come.

    Attributes:
        request_id: The row's request.
        request: What is known of it.
        row: Its row in the sampled batch.
        natural: The token that the model drew, and its value.
        refused: Candidates found unacceptable, the natural one among them, in draw order.
        waiting: Candidates still to be tried, in draw order, each once.
        chosen: The token that is committed; ``None`` while the search is open.
        ends: Whether that token ends the request.
    """

    request_id: str
    request: LiveRequest
    row: int
    natural: Candidate
    refused: list[Candidate] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    chosen: Candidate | None = None
    ends: bool = False

    def __post_init__(self) -> None:
        self.refused.append(self.natural)

    @property
    def token(self) -> int:
        """The token that is committed."""
        assert self.chosen is not None  # noqa: S101  (asked of closed searches only)
        return self.chosen.token

    def expect(self, drawn: Sequence[int]) -> None:
        """Take further draws; with its own the request has as many as it asks for."""
        fresh = (token for token in dict.fromkeys(drawn) if token != self.natural.token)
        self.waiting = list(fresh)[: self.request.candidates - 1]

    def take(self, count: int) -> list[int]:
        """The next candidates to try."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def judge(self, tokens: Sequence[int], values: Sequence[float]) -> int:
        """Choose the first acceptable of the tokens that were tried.

        Returns:
            How many were refused before it.
        """
        threshold = self.request.vfd_threshold
        assert threshold is not None  # noqa: S101  (only filtered rows are searched)
        for index, candidate in enumerate(map(Candidate, tokens, values)):
            if acceptable(candidate.p_undesirable, threshold):
                self.chosen = candidate
                return index
            self.refused.append(candidate)
        return len(tokens)


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
