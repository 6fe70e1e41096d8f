"""The decisions themselves, as pure functions."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def below_threshold(values: Tensor, thresholds: Tensor) -> Tensor:
    """Where a value is below its threshold, so that abstaining is worth more than going on.

    The comparison is strict, ``value < threshold``, and a value that is not a number counts as
    below: a head that cannot judge must not let an answer through. Nothing is below minus infinity,
    the threshold of requests that are judged and not acted on.

    Args:
        values: P(good) of each row, shape ``[rows]``.
        thresholds: Abstention reward of each row in units of P(good), shape ``[rows]``.

    Returns:
        Boolean mask, shape ``[rows]``.

    Source: "Knowing When to Quit", stop rule ``V(s_t) < r_abstain``.
    """
    # No probability is -1, so that what is not a number is below each threshold but that one.
    return values.nan_to_num(nan=-1.0) < thresholds


def refused_from(values: Tensor, thresholds: Tensor) -> Tensor:
    """Where a token's value is at or above its threshold; :func:`acceptable` of a whole batch.

    Args:
        values: P(undesirable) of each row, shape ``[rows]``.
        thresholds: Shape ``[rows]``; nothing reaches infinity, whatever the head says.

    Returns:
        Boolean mask, shape ``[rows]``.
    """
    return values.nan_to_num(nan=2.0) >= thresholds


def extend_streaks(streaks: Tensor, below: Tensor) -> Tensor:
    """Count consecutive response tokens below the threshold.

    Args:
        streaks: Length of each row's run before this token, shape ``[rows]``, integer.
        below: Whether this token is below its threshold, shape ``[rows]``, bool.

    Returns:
        The new run lengths, shape ``[rows]``; a token at or above its threshold ends the run.
    """
    return torch.where(below, streaks + 1, torch.zeros_like(streaks))


def replace_tokens(sampled: Tensor, forced: Tensor, tokens: Tensor) -> Tensor:
    """Replace the sampled token of every forced row.

    Args:
        sampled: Sampled token ids, shape ``[rows, 1]``.
        forced: Rows to change, shape ``[rows]``, bool.
        tokens: What each row gives in its place, shape ``[rows]``, the dtype of ``sampled``.

    Returns:
        Token ids of the same shape and dtype as ``sampled``.
    """
    return torch.where(forced.unsqueeze(-1), tokens.unsqueeze(-1), sampled)


def acceptable(p_undesirable: float, threshold: float) -> bool:
    """Whether a token may be committed.

    A token is unacceptable when ``p >= threshold``. A value in fp32 is exact as a Python float, so
    the comparison is the literal one, ties included; a value that is not a number is unacceptable.

    Source: "Selective Safety Steering via Value-Filtered Decoding".
    """
    return p_undesirable < threshold


def in_control_group(request_id: str, share: float) -> bool:
    """Whether a request is judged and not acted on, so that its answer shows the model alone.

    It follows from the id, so that all ranks say the same of a request, whenever they are asked.

    Args:
        request_id: The engine's id of the request.
        share: Of all requests, from 0 to 1.
    """
    digest = hashlib.sha256(request_id.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that was considered and found unacceptable.

    Attributes:
        token: Its id.
        p_undesirable: The head's value of the sequence that ends in it.
    """

    token: int
    p_undesirable: float


def least_undesirable(candidates: Sequence[Candidate]) -> Candidate:
    """The ``argmin`` fallback: the lowest value, the earliest draw among equals."""
    return min(candidates, key=lambda c: _finite(c.p_undesirable))


def least_penalised(
    candidates: Sequence[Candidate], probabilities: Sequence[float], weight: float
) -> Candidate:
    """The ``args`` fallback: the lowest ``p - weight * probability``, the earliest among equals.

    Args:
        candidates: In draw order.
        probabilities: Of each candidate under the distribution it was drawn from.
        weight: Of the probability.
    """
    penalties = [
        _finite(c.p_undesirable) - weight * probability
        for c, probability in zip(candidates, probabilities, strict=True)
    ]
    return candidates[penalties.index(min(penalties))]


def _finite(value: float) -> float:
    """The value, or infinity where the head gave none."""
    return math.inf if math.isnan(value) else value
