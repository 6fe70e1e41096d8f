"""The decisions themselves, as pure functions on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def below_threshold(values: Tensor, thresholds: Tensor) -> Tensor:
    """Where a value is below its threshold, so that abstaining is worth more than going on.

    The comparison is strict, ``value < threshold``, and a value that is not a number counts as
    below: a head that cannot judge must not let an answer through.

    Args:
        values: P(good) of each row, shape ``[rows]``.
        thresholds: Abstention reward of each row in units of P(good), shape ``[rows]``.

    Returns:
        Boolean mask, shape ``[rows]``.

    Source: "Knowing When to Quit", stop rule ``V(s_t) < r_abstain``.
    """
    return (values >= thresholds).logical_not_()


def extend_streaks(streaks: Tensor, below: Tensor, advance: Tensor) -> Tensor:
    """Count consecutive response tokens below the threshold.

    Args:
        streaks: Length of each row's current run, shape ``[rows]``, integer.
        below: Whether this token is below its threshold, shape ``[rows]``, bool.
        advance: 1 for a token judged for the first time, 0 for one judged again after a
            preemption, shape ``[rows]``, integer.

    Returns:
        The new run lengths, shape ``[rows]``; a token at or above its threshold ends the run.
    """
    return torch.where(below, streaks + advance, torch.zeros_like(streaks))


def end_rows(sampled: Tensor, fired: Tensor, stop_tokens: Tensor) -> Tensor:
    """Replace the sampled token of every fired row by the token that ends its request.

    Args:
        sampled: Sampled token ids, shape ``[rows, 1]``.
        fired: Rows to end, shape ``[rows]``, bool.
        stop_tokens: A stopping token id of each row, shape ``[rows]``, the dtype of ``sampled``.

    Returns:
        Token ids of the same shape and dtype as ``sampled``.
    """
    return torch.where(fired.unsqueeze(-1), stop_tokens.unsqueeze(-1), sampled)
