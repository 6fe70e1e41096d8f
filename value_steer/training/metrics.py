"""How well a head ranks, and how far its probabilities are from frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from value_steer.training.batches import Tokens

BINS = 10


@dataclass(frozen=True, slots=True)
class HeadMetrics:
    """A head on validation data.

    Attributes:
        loss: The objective on all of it.
        auroc_first: Area under the ROC curve at the first token of each sequence, with labels
            from 0.5 on as positive; ``None`` if all are of one class.
        auroc_middle: At the middle token, the later one of two.
        auroc_last: At the last token.
        calibration_error: Expected calibration error over all tokens, in ten equal bins.
        sequences: Number of sequences.
        tokens: Number of tokens.
    """

    loss: float
    auroc_first: float | None
    auroc_middle: float | None
    auroc_last: float | None
    calibration_error: float
    sequences: int
    tokens: int


def head_metrics(loss: float, probabilities: Tensor, tokens: Tokens) -> HeadMetrics:
    """The metrics of a head's probabilities, ``[N]``."""
    lengths = tokens.rows.bincount()
    lengths = lengths[lengths > 0]
    starts = lengths.cumsum(0) - lengths
    positive = tokens.labels >= 0.5
    first, middle, last = (
        auroc(probabilities[at], positive[at])
        for at in (starts, starts + lengths // 2, starts + lengths - 1)
    )
    return HeadMetrics(
        loss=loss,
        auroc_first=first,
        auroc_middle=middle,
        auroc_last=last,
        calibration_error=calibration_error(probabilities, tokens.labels),
        sequences=len(lengths),
        tokens=len(tokens),
    )


def auroc(scores: Tensor, positive: Tensor) -> float | None:
    """Probability that a positive scores above a negative, ties counting half.

    Args:
        scores: ``[N]``.
        positive: ``[N]``, boolean.

    Returns:
        ``None`` if one of the classes is missing.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    scores = scores.contiguous()
    ordered = scores.sort().values
    below = torch.searchsorted(ordered, scores)
    up_to = torch.searchsorted(ordered, scores, right=True)
    mid_ranks = (below + up_to + 1) / 2
    wins = mid_ranks[positive].double().sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: ``sum_b n_b / N |mean p - mean y|`` over equal-width bins.

    Args:
        probabilities: ``[N]``.
        labels: ``[N]``, in [0, 1].
        bins: Number of bins.
    """
    bin_of = (probabilities.double() * bins).long().clamp(0, bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64, device=labels.device)
    gaps.index_add_(0, bin_of, probabilities.double() - labels.double())
    return float(gaps.abs().sum() / len(labels))
