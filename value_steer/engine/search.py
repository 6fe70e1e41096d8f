"""The search for an acceptable token, one candidate per step of its request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from value_steer.config import Fallback
from value_steer.policy import Candidate, least_penalised, least_undesirable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(slots=True)
class Search:
    """Candidates for one token of a sequence: the ones refused, and the ones to come.

    Attributes:
        position: Of the token in its sequence.
        refused: Candidates found unacceptable, the one that the model drew first, in draw order.
        waiting: Candidates still to be tried, in draw order, each once.
        settled: The candidate that is committed though none is acceptable, while its keys and
            values have to be computed again.
        withheld: What the host has computed of the prompt, by field of its output; it must be given
            out together with a token.
    """

    position: int
    refused: list[Candidate]
    waiting: list[int] = field(default_factory=list)
    settled: Candidate | None = None
    withheld: dict[str, Any] = field(default_factory=dict)

    @property
    def natural(self) -> Candidate:
        """The candidate that the model drew."""
        return self.refused[0]

    @property
    def next(self) -> int:
        """The token to try."""
        return self.waiting[0] if self.settled is None else self.settled.token

    def expect(self, drawn: Sequence[int], candidates: int) -> None:
        """Take further draws; with the model's own there are ``candidates`` of them."""
        fresh = (token for token in dict.fromkeys(drawn) if token != self.natural.token)
        self.waiting = list(fresh)[: candidates - 1]

    def refuse(self, candidate: Candidate) -> None:
        """The head objects to the token that was tried."""
        del self.waiting[0]
        self.refused.append(candidate)


@dataclass(slots=True)
class Filtered:
    """What value filtering has done to one request so far.

    Attributes:
        interventions: Tokens committed in place of the one that the model drew.
        no_acceptable: Tokens for which no candidate was acceptable.
        unscored: Tokens committed without a judgement, in steps served after an error.
        p_undesirable: The head's value after the last committed token; ``None`` before the first.
        search: Candidates for the next token, while the head has accepted none.
    """

    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    p_undesirable: float | None = None
    search: Search | None = None


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

    def choose(self, search: Search, row: int) -> Candidate:
        """The candidate to commit in a row."""
        if self.kind is Fallback.NATURAL:
            return search.natural
        if self.kind is Fallback.ARGS:
            tokens = [candidate.token for candidate in search.refused]
            return least_penalised(search.refused, self.probabilities(row, tokens), self.weight)
        return least_undesirable(search.refused)

    @property
    def abstains(self) -> bool:
        """Whether the request is to be ended in place of getting a candidate."""
        return self.kind is Fallback.ABSTAIN
