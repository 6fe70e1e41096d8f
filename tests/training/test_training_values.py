"""Which losses find the value function, on a Markov chain whose values are known exactly.

From the start, half of the paths turn bad at once; the others wander and end well with a
probability that depends on where they are: a random walk on 1..3 with absorption at either end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from value_steer.train_probe import train_probe
from value_steer.training import TrainingOptions
from value_steer.value_probe import ValueHead

if TYPE_CHECKING:
    from tests.training.material import Batch

START, BAD, GOOD = 0, 4, 5
STATES = 6
LONGEST = 50
UP = 0.6


def exact_values() -> Tensor:
    """P(ends well) from each state: the solution of ``(I - P) V = P_good``."""
    moves = torch.zeros(STATES, STATES, dtype=torch.float64)
    moves[START, BAD], moves[START, 2] = 0.5, 0.5
    for state in (1, 2, 3):
        moves[state, state + 1 if state < 3 else GOOD] += UP
        moves[state, state - 1 if state > 1 else BAD] += 1 - UP
    inner = slice(0, 4)
    values = torch.linalg.solve(
        torch.eye(4, dtype=torch.float64) - moves[inner, inner], moves[inner, GOOD]
    )
    return torch.cat([values, torch.tensor([0.0, 1.0], dtype=torch.float64)])


def paths(count: int) -> tuple[Tensor, Tensor]:
    """Sampled paths, padded with -1, ``[count, LONGEST]``, and whether they ended well."""
    generator = torch.Generator().manual_seed(1)
    state = torch.full((count,), START)
    visited = torch.full((count, LONGEST), -1)
    for step in range(LONGEST):
        visited[:, step] = state
        over = (state == BAD) | (state == GOOD) | (state == -1)
        up = torch.rand(count, generator=generator) < UP
        first = torch.where(torch.rand(count, generator=generator) < 0.5, BAD, 2)
        moved = torch.where(up, torch.where(state == 3, GOOD, state + 1), state - 1)
        moved = torch.where((state == 1) & ~up, BAD, moved)
        state = torch.where(over, -1, torch.where(state == START, first, moved))
    assert (state == -1).all()
    return visited, (visited == GOOD).any(dim=1)


def learned(**options: Any) -> Tensor:
    """The head's probability of each state, after training on 2000 paths."""
    visited, good = paths(2000)
    batch: Batch = {
        "hidden_states": torch.nn.functional.one_hot(visited.clamp_min(0), STATES).float(),
        "attention_mask": visited >= 0,
        "labels": good,
    }
    torch.manual_seed(0)
    head = ValueHead(STATES)
    recipe = TrainingOptions(
        use_td=False, learning_rate=2e-2, weight_decay=0.0, epochs=160, **options
    )
    train_probe(None, head, [batch], options=recipe)
    return head.p(torch.eye(STATES)).detach().double()


@pytest.mark.parametrize("loss_name", ["bce", "mse"])
def test_a_proper_loss_with_pooled_tokens_finds_the_values(loss_name: Any) -> None:
    """Within the noise of 2000 paths."""
    error = (learned(loss_name=loss_name, weighting="pooled") - exact_values()).abs()

    assert error.max() < 0.06


def test_a_mean_per_sequence_is_biased_where_length_tells_the_outcome() -> None:
    """Short paths weigh more, and here the short ones are the bad ones."""
    values, found = exact_values(), learned(loss_name="bce", weighting="per_sequence")

    assert found[START] < values[START] - 0.1


def test_the_focal_loss_finds_scores_that_rank_and_are_no_probabilities() -> None:
    """In the order of the values, and far from them."""
    values, found = exact_values(), learned(loss_name="focal", weighting="pooled")
    order = values.argsort()

    assert (found[order].diff() > 0).all()
    assert (found - values).abs().max() > 0.08
    for value, score in zip(values[:4].tolist(), found[:4].tolist(), strict=True):
        assert score == pytest.approx(focal_minimiser(value), abs=0.04)


def focal_minimiser(q: float, gamma: float = 1.0, alpha: float = 0.7) -> float:
    """The probability of least expected focal loss when the label is 1 with probability q."""

    def loss(p: float) -> float:
        hit: float = alpha * (1 - p) ** gamma * -math.log(p)
        miss: float = (1 - alpha) * p**gamma * -math.log(1 - p)
        return q * hit + (1 - q) * miss

    return min((i / 5000 for i in range(1, 5000)), key=loss)


def test_the_focal_loss_is_no_proper_score() -> None:
    """Its minimiser is not the probability, with a weight of 1/2 neither."""
    assert focal_minimiser(0.3) > 0.38
    assert focal_minimiser(0.2, alpha=0.5) > 0.25
    assert focal_minimiser(0.3, gamma=0.0, alpha=0.5) == pytest.approx(0.3, abs=1e-3)
