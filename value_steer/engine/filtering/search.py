"""The search for an acceptable token, one candidate per step of its request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from value_steer.config import Fallback
from value_steer.engine.filtering.draws import probabilities
from value_steer.policy import Candidate, least_penalised, least_undesirable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.engine.runners import Distributions


@dataclass(slots=True)
class Search:
    """Candidates for one token of a sequence: the ones refused, and the ones to come.

    Attributes:
        position: Of the token in its sequence, counted from 0.
        source: What the token was sampled from.
        row: Where in it.
        refused: Candidates found unacceptable, the one that the model drew first, in draw order.
        waiting: Candidates still to be tried, in draw order, each once.
        settled: The candidate that is given out though none is acceptable, while its keys and
            values have to be computed again.
        ends: Whether that candidate is the stop token that ends the request.
    """

    position: int
    source: Distributions
    row: int
    refused: list[Candidate]
    waiting: list[int] = field(default_factory=list)
    settled: Candidate | None = None
    ends: bool = False

    @property
    def natural(self) -> Candidate:
        """The candidate that the model drew."""
        return self.refused[0]

    @property
    def next(self) -> int:
        """The token that the sequence ends in while the search goes on."""
        return self.waiting[0] if self.settled is None else self.settled.token

    def expect(self, drawn: Sequence[int], candidates: int) -> None:
        """Take further draws; with the model's own there are ``candidates`` of them."""
        fresh = (token for token in dict.fromkeys(drawn) if token != self.natural.token)
        self.waiting = list(fresh)[: candidates - 1]

    def refuse(self, p_undesirable: float) -> Candidate:
        """The head refuses the token that was tried."""
        tried = Candidate(self.waiting.pop(0), p_undesirable)
        self.refused.append(tried)
        return tried


@dataclass(slots=True)
class Filtered:
    """Where value filtering stands with one request.

    Attributes:
        holds: Whether a token of it was sampled and is not given out yet.
        decided: Whether that token is given out whatever the head says of it.
        search: Candidates for that token, once the head has refused one.
        drawn: Position and id of a token that was held when the request was preempted: it stays the
            one that the model drew there.
    """

    holds: bool = False
    decided: bool = False
    search: Search | None = None
    drawn: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FallbackRule:
    """The choice among candidates of which none is acceptable.

    Attributes:
        kind: The operator's choice.
        weight: Of the token's probability, for ``args``.
    """

    kind: Fallback
    weight: float

    def choose(self, search: Search) -> Candidate:
        """The candidate to give out."""
        if self.kind is Fallback.NATURAL:
            return search.natural
        if self.kind is Fallback.ARGS:
            (policy,) = probabilities(search.source.of([search.row]))
            likelihoods = policy.cpu()[[candidate.token for candidate in search.refused]].tolist()
            return least_penalised(search.refused, likelihoods, self.weight)
        return least_undesirable(search.refused)

    @property
    def abstains(self) -> bool:
        """Whether the request is to be ended in place of getting a candidate."""
        return self.kind is Fallback.ABSTAIN
