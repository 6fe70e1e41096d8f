"""What a decode step is run on, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ends:
    """Sequences and the token that each of them ends in, as one decode step takes them.

    Attributes:
        positions: Request id to the position of that token.
        outputs: Response tokens of each request, that one included, in the same order.
    """

    positions: dict[str, int]
    outputs: list[int]


@dataclass(frozen=True, slots=True)
class Look:
    """What a decode step has shown.

    Attributes:
        ids: The requests, in row order.
        feature: ``[rows, hidden]``, what ``lm_head`` would consume.
        state: What the host keeps between the two calls of a step, its logits left out.
    """

    ids: list[str]
    feature: Tensor
    state: Any
