"""Chances without sampling: every state of a policy with a short memory is enumerated.

A law is a tensor ``[words] * (reach + 1)``: the probability of the last index after the others. A
table is a tensor ``[words] * reach``: a number for every state, that is, for the last ``reach``
words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from value_steer.demo.grammar import EOS, HARBOUR, WORDS, WRECK
from value_steer.demo.language_model import REACH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def chance_of_good(law: Tensor, tokens: int, allowed: Tensor | None = None) -> Tensor:
    """P(the response is good, and no state of it is forbidden), at sea, by what is left of it.

    Args:
        law: Of the next word.
        tokens: The most that may be left of a response.
        allowed: Table of the states that the response may pass through; all, if not given.

    Returns:
        ``[tokens + 1] + [words] * reach``: the first index is how many tokens are left.
    """
    may = torch.ones_like(law[..., 0]) if allowed is None else allowed.to(law.dtype)
    at_sea, in_harbour = torch.zeros_like(may), torch.ones_like(may)
    chances = [at_sea]
    for _ in range(tokens):
        # A state is its last words, so the state after a word is found without its first.
        reached = in_harbour.unsqueeze(0).expand_as(law).clone()
        reached[..., EOS] = 1
        going = at_sea.unsqueeze(0).expand_as(law).clone()
        going[..., HARBOUR] = reached[..., HARBOUR]
        going[..., [WRECK, EOS]] = 0
        permitted = law * may.unsqueeze(0)
        at_sea, in_harbour = (permitted * going).sum(-1), (permitted * reached).sum(-1)
        chances.append(at_sea)
    return torch.stack(chances)


def filtered_law(law: Tensor, p_undesirable: Tensor, threshold: float, candidates: int) -> Tensor:
    """The law of the first acceptable of several draws, or of the least undesirable if none is.

    An acceptable word of probability ``q`` is committed with ``q (1 + b + ... + b^(K-1))``, where
    ``b`` is the probability of all unacceptable ones. An unacceptable one is committed if all
    draws are unacceptable and it is the best of them, the earliest of equals.

    Args:
        law: Of the draws.
        p_undesirable: Table of the head's values, fp32 or what holds it exactly.
        threshold: A state is unacceptable from it on.
        candidates: Draws, K.
    """
    # In fp64, where the comparison is the runtime's: torch would round the threshold to fp32.
    after = p_undesirable.double().unsqueeze(0).expand_as(law)
    refused = law * (after >= threshold)
    mass = refused.sum(-1, keepdim=True)
    repeats = sum(mass**draw for draw in range(candidates))
    order = after.argsort(dim=-1, descending=True)
    ranked = refused.gather(-1, order)
    worse = ranked.cumsum(-1)
    best = worse**candidates - (worse - ranked) ** candidates
    fallback = torch.zeros_like(law).scatter(-1, order, best)
    return torch.where(after >= threshold, fallback, law * repeats)


def last_words(tokens: Sequence[int]) -> tuple[int, ...]:
    """The state that a sequence is in, as an index of a table."""
    return tuple(tokens[-REACH:])


def states() -> Tensor:
    """Every state, ``[words ** REACH, REACH]``."""
    return torch.cartesian_prod(*[torch.arange(len(WORDS))] * REACH)
