"""Ranking and calibration, against their definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from value_steer.training.batches import Tokens
from value_steer.training.metrics import auroc, calibration_error, head_metrics

scored = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40)


@given(scored)
def test_auroc_is_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    """With many ties, and ``None`` where a class is missing."""
    scores = torch.tensor([score / 8 for score, _ in pairs])
    positive = torch.tensor([is_positive for _, is_positive in pairs])

    if positive.all() or not positive.any():
        assert auroc(scores, positive) is None
    else:
        expected = roc_auc_score(positive.numpy(), scores.numpy())
        assert auroc(scores, positive) == pytest.approx(expected)


def test_the_calibration_error_by_hand() -> None:
    """Two bins: |1.8 - 1| / 4 + |.3 - 1| / 4; a score of exactly 1 belongs to the last."""
    probabilities = torch.tensor([0.8, 1.0, 0.1, 0.2])
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0])

    assert calibration_error(probabilities, labels, bins=2) == pytest.approx(0.375)


def test_frequencies_have_no_calibration_error() -> None:
    """A constant head that says the base rate."""
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0])

    assert calibration_error(torch.full((4,), 0.25), labels) == 0


def test_ranks_are_taken_at_the_first_the_middle_and_the_last_token() -> None:
    """Sequences of 1, 2 and 3 tokens; the head is right at first, wrong in the end."""
    tokens = Tokens(
        labels=torch.tensor([1.0, 1.0, 1.0, 0.4, 0.4, 0.4]),
        rows=torch.tensor([0, 2, 2, 5, 5, 5]),
        columns=torch.tensor([4, 0, 1, 0, 1, 2]),
    )
    probabilities = torch.tensor([0.5, 0.9, 0.2, 0.1, 0.2, 0.8])

    metrics = head_metrics(0.25, probabilities, tokens)

    assert (metrics.auroc_first, metrics.auroc_middle, metrics.auroc_last) == (1.0, 0.75, 0.0)
    assert (metrics.sequences, metrics.tokens, metrics.loss) == (3, 6, 0.25)
