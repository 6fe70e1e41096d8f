"""Drawing further candidates from a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True)
class Redraw:
    """Candidates asked for in one row.

    Attributes:
        row: The row, as it was sampled.
        count: Draws.
        greedy: Take the most probable tokens in order in place of draws.
    """

    row: int
    count: int
    greedy: bool


def probabilities(logits: Tensor) -> Tensor:
    """The distributions of processed logits, ``[rows, vocabulary]``, in fp32."""
    return logits.softmax(dim=-1, dtype=torch.float32)


def draw(policy: Tensor, count: int, generator: Generator | None) -> list[int]:
    """Draw ``count`` tokens with replacement from a distribution ``[vocabulary]``.

    The host's own way of drawing costs a random number per token of the vocabulary and draw; this
    one costs one per draw.
    """
    if not count:
        return []
    drawn = torch.multinomial(policy, count, replacement=True, generator=generator)
    # Rounding of the cumulative distribution can hit the last token, possible or not.
    return [int(token) for token in drawn[policy[drawn] > 0].tolist()]


def most_probable(logits: Tensor, count: int) -> list[int]:
    """The ``count + 1`` most probable tokens in order, ties by token id; no impossible one."""
    values, tokens = logits.sort(descending=True, stable=True)
    values, tokens = values[: count + 1], tokens[: count + 1]
    return [int(token) for token in tokens[values > -torch.inf].tolist()]
