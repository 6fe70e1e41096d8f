"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from value_steer.training.batches import Tokens
from value_steer.training.losses import (
    focal_loss,
    objective,
    temporal_difference,
    token_losses,
    token_weights,
)
from value_steer.training.options import TrainingOptions


def tokens(labels: list[float], rows: list[int], columns: list[int]) -> Tokens:
    """Tokens at given places."""
    return Tokens(torch.tensor(labels), torch.tensor(rows), torch.tensor(columns))


def logit(p: float) -> Tensor:
    """One logit."""
    return torch.tensor([math.log(p / (1 - p))])


@pytest.mark.parametrize(
    ("p", "label", "expected"),
    [
        (0.8, 1.0, 0.7 * 0.2 * -math.log(0.8)),
        (0.8, 0.0, 0.3 * 0.8 * -math.log(0.2)),
        # p_t = .5 u + .5 (1 - u) = .5 whatever u is, a_t = .5, BCE = -(log .8 + log .2) / 2
        (0.8, 0.5, 0.5 * 0.5 * -(math.log(0.8) + math.log(0.2)) / 2),
    ],
)
def test_the_focal_loss_by_hand(p: float, label: float, expected: float) -> None:
    """``a_t (1 - p_t)^gamma BCE`` at gamma 1 and alpha .7, soft labels included."""
    loss = focal_loss(logit(p), torch.tensor([label]), gamma=1.0, alpha=0.7)

    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"), [("bce", -math.log(0.2)), ("mse", 0.64), ("focal", 0.24 * -math.log(0.2))]
)
def test_each_loss_by_its_name(name: Any, expected: float) -> None:
    """At u = .8 and the label 0."""
    options = TrainingOptions(loss_name=name)

    loss = token_losses(logit(0.8), torch.tensor([0.0]), options)

    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_without_a_focus_half_the_bce_is_left() -> None:
    """Gamma 0 and alpha .5."""
    logits, labels = torch.randn(20), torch.rand(20)

    focal = focal_loss(logits, labels, gamma=0.0, alpha=0.5)
    bce = token_losses(logits, labels, TrainingOptions(loss_name="bce"))

    torch.testing.assert_close(focal, bce / 2)


@given(
    st.floats(-200, 200, width=32),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_the_focal_loss_and_its_slope_are_finite(z: float, label: float, gamma: float) -> None:
    """However sure the head is, rightly or wrongly."""
    logits = torch.tensor([z], requires_grad=True)

    loss = focal_loss(logits, torch.tensor([label]), gamma=gamma, alpha=0.7)
    (slope,) = torch.autograd.grad(loss.sum(), logits)

    assert loss.isfinite()
    assert slope.isfinite()


@pytest.mark.parametrize("name", ["focal", "bce", "mse"])
@pytest.mark.parametrize("weighting", ["per_sequence", "pooled"])
def test_the_gradient_of_the_objective_is_that_of_its_differences(
    name: Any, weighting: Any
) -> None:
    """Automatic and numerical gradients agree in double precision."""
    places = tokens([1.0, 1.0, 1.0, 0.0, 0.2], [0, 0, 0, 1, 2], [2, 3, 5, 0, 0])
    places = Tokens(places.labels.double(), places.rows, places.columns)
    options = TrainingOptions(loss_name=name, weighting=weighting, coh_weight=0.7, gamma=2.0)
    logits = torch.randn(5, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda z: objective(z, places, options), logits)


def test_sequences_weigh_the_same_or_tokens_do() -> None:
    """Three tokens of one sequence, one of another; a row without tokens has no say."""
    places = tokens([0.0] * 4, [0, 0, 0, 2], [0, 1, 2, 0])

    torch.testing.assert_close(
        token_weights(places, "per_sequence"), torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    )
    torch.testing.assert_close(token_weights(places, "pooled"), torch.full((4,), 1 / 4))


def test_smoothness_looks_at_neighbours_only() -> None:
    """Not across a gap, not across two sequences; the mean is over all pairs of the batch."""
    places = tokens([0.0] * 5, [0, 0, 0, 1, 1], [0, 1, 3, 0, 1])
    logits = torch.tensor([1.0, 3.0, 9.0, 20.0, 21.0])

    assert temporal_difference(logits, places).item() == ((3 - 1) ** 2 + (21 - 20) ** 2) / 2


def test_single_tokens_have_no_neighbours() -> None:
    """The smoothness is 0, with a gradient of 0."""
    logits = torch.tensor([1.0, 2.0], requires_grad=True)

    loss = temporal_difference(logits, tokens([0.0, 1.0], [0, 1], [0, 0]))
    loss.backward()  # type: ignore[no-untyped-call]

    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.tolist() == [0, 0]


def test_the_objective_is_the_sum_of_both_parts() -> None:
    """``L = mean_i mean_t l + coh_weight * TD``; without ``use_td`` the first alone."""
    places = tokens([1.0, 1.0, 0.0], [0, 0, 1], [0, 1, 0])
    logits = torch.tensor([0.0, 2.0, -1.0])
    bce = [math.log(2), math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1))]
    plain = ((bce[0] + bce[1]) / 2 + bce[2]) / 2

    with_td = TrainingOptions(loss_name="bce", coh_weight=0.1)
    without = TrainingOptions(loss_name="bce", use_td=False, coh_weight=0.1)

    assert objective(logits, places, with_td).item() == pytest.approx(plain + 0.1 * 4)
    assert objective(logits, places, without).item() == pytest.approx(plain)
