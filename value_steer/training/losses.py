"""Losses of training, on the flat list of a batch's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

if TYPE_CHECKING:
    from torch import Tensor

    from value_steer.training.batches import Tokens
    from value_steer.training.options import TrainingOptions, Weighting


def objective(logits: Tensor, tokens: Tokens, options: TrainingOptions) -> Tensor:
    """The loss of a batch: the weighted mean of its tokens' losses, plus smoothness.

    Args:
        logits: The head's logits, ``[N]``.
        tokens: Their labels and places.
        options: Which loss, weights and smoothness.

    Returns:
        A scalar.
    """
    loss = token_weights(tokens, options.weighting) @ token_losses(logits, tokens.labels, options)
    if options.use_td:
        loss = loss + options.coh_weight * temporal_difference(logits, tokens)
    return loss


def token_losses(logits: Tensor, labels: Tensor, options: TrainingOptions) -> Tensor:
    """The loss of each token, ``[N]``, by ``options.loss_name``."""
    if options.loss_name == "focal":
        return focal_loss(logits, labels, gamma=options.gamma, alpha=options.alpha)
    if options.loss_name == "bce":
        return binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (logits.sigmoid() - labels).square()


def focal_loss(logits: Tensor, labels: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """``a_t (1 - p_t)^gamma BCE`` with ``a_t = alpha y + (1 - alpha)(1 - y)``.

    It is no proper scoring rule: its minimiser is a monotone distortion of P(y = 1), which ranks
    as well and must not be read as a probability.

    Args:
        logits: ``[...]``.
        labels: ``[...]``, in [0, 1].
        gamma: How much less a token counts, the better it is classified.
        alpha: Weight of the label 1.

    Source: "Focal Loss for Dense Object Detection", eq. 5.
    """
    cross_entropy = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    missed = logits.sigmoid() * (1 - labels) + (-logits).sigmoid() * labels
    # The power has no finite slope at 0 where gamma is below 1.
    focus = missed.clamp_min(torch.finfo(missed.dtype).tiny) ** gamma
    return (alpha * labels + (1 - alpha) * (1 - labels)) * focus * cross_entropy


def token_weights(tokens: Tokens, weighting: Weighting) -> Tensor:
    """How much each token counts, ``[N]``; they sum to 1."""
    if weighting == "pooled":
        return torch.full_like(tokens.labels, 1 / len(tokens))
    lengths = tokens.rows.bincount()
    sequences = lengths.count_nonzero()
    return (sequences * lengths[tokens.rows]).to(tokens.labels.dtype).reciprocal()


def temporal_difference(logits: Tensor, tokens: Tokens) -> Tensor:
    """Mean of ``(z_{t+1} - z_t)^2`` over all adjacent pairs of a batch; 0 if there are none.

    A penalty on rough trajectories, not the residual of a Bellman equation.
    """
    adjacent = (tokens.rows[1:] == tokens.rows[:-1]) & (
        tokens.columns[1:] == tokens.columns[:-1] + 1
    )
    squared = logits.diff()[adjacent].square()
    return squared.sum() / max(1, len(squared))
