"""Ways to decode with one head: the base policy, value filtering, and what it is compared with.

``u`` is the head's P(undesirable) after a token, ``V = 1 - u``, ``p0`` the base policy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from value_steer.errors import SettingsError
from value_steer.evaluation.decoding import Chooser, Commit, Draft, Policy, Sampler, Step, decode
from value_steer.policy import Candidate, acceptable, least_undesirable

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE = "base"
"""Name of the policy that all others are compared with."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Settings of the policies.

    Attributes:
        candidates: Draws per token at most, the natural one included, or likeliest tokens.
        best_of: Responses that best-of-N chooses from.
        args_weight: Weight of V against ``log p`` in ARGS.
        strength: Exponent of controlled decoding, ``p0 exp(strength V)``; ``None`` for ``p0 V``.
    """

    candidates: int = 8
    best_of: int = 8
    args_weight: float = 1.5
    strength: float | None = None

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.best_of < 1:
            msg = f"candidates = {self.candidates}, best_of = {self.best_of}: must be at least 1"
            raise SettingsError(msg)


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """A policy that decides token by token."""

    name: str
    choose: Chooser

    def decode(self, sampler: Sampler, prompt: Sequence[int], seed: int) -> Draft:
        """The response to a prompt, under the randomness of ``seed``."""
        return decode(sampler, self.choose, prompt, seed)


@dataclass(frozen=True, slots=True)
class BestOf:
    """Of several base responses the one that the head likes best at its end.

    The first is the base response itself. ``interventions`` counts the tokens in which the chosen
    one differs from it.
    """

    name: str
    count: int

    def decode(self, sampler: Sampler, prompt: Sequence[int], seed: int) -> Draft:
        """The response to a prompt, under the randomness of ``seed``."""
        seeds = [seed, *(seed + _APART * i for i in range(1, self.count))]
        drafts = [decode(sampler, base, prompt, own) for own in seeds]
        best = min(drafts, key=lambda draft: draft.undesirable)
        pairs = zip(best.tokens, drafts[0].tokens, strict=False)
        differing = sum(a != b for a, b in pairs) + abs(len(best.tokens) - len(drafts[0].tokens))
        return replace(
            best,
            interventions=differing,
            rows=sum(draft.rows for draft in drafts),
            seconds=sum(draft.seconds for draft in drafts),
        )


def policies(settings: PolicySettings | None = None) -> tuple[Policy, ...]:
    """Every policy, the base one first."""
    at = settings or PolicySettings()
    return (
        TokenPolicy(BASE, base),
        BestOf(f"best of {at.best_of}", at.best_of),
        TokenPolicy("ARGS", lambda step: args(step, at)),
        TokenPolicy("controlled decoding", lambda step: controlled(step, at)),
        TokenPolicy("always argmin", lambda step: always_argmin(step, at)),
        TokenPolicy("VFD", lambda step: filtered(step, at)),
        TokenPolicy("VFD, abstaining", lambda step: filtered_or_abstain(step, at)),
    )


def base(step: Step) -> Commit:
    """The natural token."""
    return Commit(step.natural)


def args(step: Step, settings: PolicySettings) -> Commit:
    """The best of the likeliest tokens by ``log p + args_weight V``.

    Source: "ARGS: Alignment as Reward-Guided Search", greedy form.
    """
    tokens = step.likeliest(settings.candidates)
    gains = [
        step.log_probability(token) + settings.args_weight * (1 - u)
        for token, u in zip(tokens, step.undesirable(tokens), strict=True)
    ]
    return Commit(tokens[gains.index(max(gains))])


def controlled(step: Step, settings: PolicySettings) -> Commit:
    """A draw from ``p0 V``, or ``p0 exp(strength V)``, over the likeliest tokens.

    Where that has no mass at all the natural token stays.

    Source: "FUDGE: Controlled Text Generation With Future Discriminators".
    """
    tokens = step.likeliest(settings.candidates)
    good = 1 - torch.tensor(step.undesirable(tokens), dtype=torch.float64)
    factor = good if settings.strength is None else (settings.strength * good).exp()
    weights = torch.zeros_like(step.policy)
    weights[tokens] = step.policy[tokens] * factor.to(step.policy.device)
    return Commit(step.draw(weights) if weights.sum() > 0 else step.natural)


def always_argmin(step: Step, settings: PolicySettings) -> Commit:
    """The draw with the lowest u, objection or not: value steering without a filter."""
    return Commit(_least(step, step.candidates(settings.candidates)))


def filtered(step: Step, settings: PolicySettings) -> Commit:
    """The first acceptable draw; with none, the one with the lowest u.

    The natural token is looked at alone, further ones only when it is refused.

    Source: "Selective Safety Steering via Value-Filtered Decoding", two-phase decoder.
    """
    drawn = step.candidates(settings.candidates)
    token = _first_acceptable(step, drawn)
    return Commit(_least(step, drawn), acceptable=False) if token is None else Commit(token)


def filtered_or_abstain(step: Step, settings: PolicySettings) -> Commit:
    """The first acceptable draw; with none, the response ends and is withheld."""
    token = _first_acceptable(step, step.candidates(settings.candidates))
    if token is None:
        return Commit(step.eos, acceptable=False, abstained=True)
    return Commit(token)


def _first_acceptable(step: Step, drawn: Sequence[int]) -> int | None:
    (first,) = step.undesirable(drawn[:1])
    if acceptable(first, step.threshold):
        return drawn[0]
    values = zip(drawn, step.undesirable(drawn), strict=True)
    return next((token for token, u in values if acceptable(u, step.threshold)), None)


def _least(step: Step, drawn: Sequence[int]) -> int:
    values = zip(drawn, step.undesirable(drawn), strict=True)
    return least_undesirable([Candidate(token, u) for token, u in values]).token


_APART = 1_000_003
"""Between the seeds of the responses of best-of-N: more than there are requests."""
