"""A few cache blocks that no request owns, for candidates that run side by side.

The scheduler's pool gives them away once, when it is new, so they are its first blocks: scheduler
and worker know which ones without a word between them, in whatever processes they live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from value_steer.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_MOST = 32
_SHARE = 32
"""At most one block in so many is spare."""

_FIRST = 1
"""Block 0 is the host's null block."""


def spare_sets(num_blocks: int, groups: int) -> int:
    """How many candidates can have a spare block, one in each cache group."""
    return min(_MOST, num_blocks // _SHARE // groups)


def set_aside(pool: Any, groups: int) -> None:
    """Take the spare blocks out of the scheduler's pool, for good.

    Raises:
        UnsupportedError: The pool gives out other blocks than its first ones.
    """
    count = spare_sets(pool.num_gpu_blocks, groups) * groups
    taken = [block.block_id for block in pool.get_new_blocks(count)]
    if taken != list(range(_FIRST, _FIRST + count)):
        msg = f"the scheduler's block pool was not new: it gave out blocks {taken} first"
        raise UnsupportedError(msg)
    pool.num_gpu_blocks -= count  # what it compares its free blocks with


class SpareBlocks:
    """The spare blocks of one worker, and copies between them and the blocks of requests.

    Args:
        caches: The cache tensor of each attention layer.
        num_blocks: Blocks in the cache, the spare ones included.
        sizes: Tokens per block in each cache group.
    """

    def __init__(self, caches: Sequence[Tensor], num_blocks: int, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._count = spare_sets(num_blocks, len(sizes))
        self._caches = [_by_block(cache, num_blocks) for cache in _distinct(caches)]

    def __len__(self) -> int:
        return self._count

    def tail(self, blocks: Sequence[Sequence[int]], position: int) -> tuple[int, ...]:
        """The block of a position in each group."""
        return tuple(ids[position // s] for ids, s in zip(blocks, self._sizes, strict=True))

    def instead(
        self, blocks: Sequence[Sequence[int]], position: int, spare: int
    ) -> tuple[list[int], ...]:
        """The blocks of a request with a spare one in place of that of ``position``."""
        groups = zip(blocks, self._sizes, self._ids(spare), strict=True)
        return tuple([*ids[: position // size], own] for ids, size, own in groups)

    def copy(self, pairs: Sequence[tuple[int, tuple[int, ...]]], *, back: bool) -> None:
        """Copy between spare blocks and the given ones: into the spare ones, or back."""
        if not pairs:
            return
        sources, targets = [], []
        for index, blocks in pairs:
            for spare, owned in zip(self._ids(index), blocks, strict=True):
                source, target = (spare, owned) if back else (owned, spare)
                sources += [cache[source] for cache in self._caches]
                targets += [cache[target] for cache in self._caches]
        torch._foreach_copy_(targets, sources)

    def _ids(self, spare: int) -> range:
        first = _FIRST + spare * len(self._sizes)
        return range(first, first + len(self._sizes))


def _distinct(caches: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor once: layers may share one."""
    return list({cache.data_ptr(): cache for cache in caches}.values())


def _by_block(cache: Tensor, num_blocks: int) -> Tensor:
    """A view of a cache whose first dimension is the block.

    Raises:
        UnsupportedError: None of its first two dimensions is.
    """
    for dimension in (0, 1):
        if cache.shape[dimension] == num_blocks:
            return cache.movedim(dimension, 0)
    for dimension in (0, 1):  # blocks that the attention kernel sees as several smaller ones
        if cache.shape[dimension] % num_blocks == 0:
            return cache.unflatten(dimension, (num_blocks, -1)).movedim(dimension, 0)
    msg = f"a key-value cache of shape {tuple(cache.shape)} is not laid out in {num_blocks} blocks"
    raise UnsupportedError(msg)
