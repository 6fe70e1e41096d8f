"""One decision for all ranks of a tensor-parallel group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from vllm.distributed.parallel_state import get_tp_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def agreement(tensor_parallel_size: int) -> Callable[[Tensor], Tensor]:
    """A function that makes a mask the same on every rank.

    Each rank samples for itself, so ranks that disagreed by one rounding error would feed
    different tokens into one forward pass. The first rank's mask holds for all.
    """
    if tensor_parallel_size == 1:
        return lambda mask: mask

    def from_first_rank(mask: Tensor) -> Tensor:
        return get_tp_group().broadcast(mask.to(torch.uint8), src=0).to(torch.bool)

    return from_first_rank


def shared_values(tensor_parallel_size: int) -> Callable[[Tensor], Tensor]:
    """A function that gives every rank the values of the first one."""
    if tensor_parallel_size == 1:
        return lambda values: values

    def from_first_rank(values: Tensor) -> Tensor:
        return get_tp_group().broadcast(values, src=0)

    return from_first_rank
