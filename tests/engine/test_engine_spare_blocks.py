"""Blocks that no request owns: the pool's first ones, and copies between them and others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from value_steer.engine.spare_blocks import SpareBlocks, _by_block, set_aside, spare_sets
from value_steer.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BLOCKS = 64
SIZE = 4
HEADS = 3
WIDTH = 2


class Pool:
    """A scheduler's pool of blocks."""

    def __init__(self, num_gpu_blocks: int, used: int = 0) -> None:
        self.num_gpu_blocks = num_gpu_blocks
        self.free = list(range(1 + used, num_gpu_blocks))  # block 0 is the null block

    def get_new_blocks(self, num_blocks: int) -> list[SimpleNamespace]:
        """Give out the first free blocks."""
        taken, self.free = self.free[:num_blocks], self.free[num_blocks:]
        return [SimpleNamespace(block_id=number) for number in taken]


def _cache(*shape: int) -> Tensor:
    """A cache in which every number is another one."""
    return torch.arange(float(torch.tensor(shape).prod())).reshape(shape)


@pytest.mark.parametrize(
    ("blocks", "groups", "sets"),
    [(31, 1, 0), (64, 1, 2), (128, 2, 2), (10_000, 1, 32)],
    ids=["few", "one group", "two groups", "many"],
)
def test_few_blocks_are_spare(blocks: int, groups: int, sets: int) -> None:
    """One in so many at most, and never more than a few dozen sets."""
    assert spare_sets(blocks, groups) == sets


@pytest.mark.parametrize("groups", [1, 2])
def test_the_first_blocks_are_set_aside(groups: int) -> None:
    """The pool takes none of the others for used."""
    pool = Pool(256)
    set_aside(pool, groups)

    assert pool.free == list(range(9, 256))
    assert pool.num_gpu_blocks - 1 == len(pool.free)


def test_a_pool_that_is_in_use_is_refused() -> None:
    """Its first blocks hold somebody's tokens."""
    with pytest.raises(UnsupportedError, match=r"not new: it gave out blocks \[4, 5\] first"):
        set_aside(Pool(BLOCKS, used=3), 1)


@pytest.mark.parametrize(
    ("cache", "block"),
    [
        (_cache(BLOCKS, HEADS, SIZE, 2 * WIDTH), lambda c, i: c[i]),
        (_cache(BLOCKS, 2, SIZE, HEADS, WIDTH), lambda c, i: c[i]),
        (_cache(2, BLOCKS, HEADS, SIZE, WIDTH), lambda c, i: c[:, i]),
        (_cache(2 * BLOCKS, HEADS, SIZE // 2, WIDTH), lambda c, i: c[2 * i : 2 * i + 2]),
        (_cache(2, 2 * BLOCKS, HEADS, 2, WIDTH), lambda c, i: c[:, 2 * i : 2 * i + 2]),
    ],
    ids=["block first", "pairs inside", "keys and values first", "split", "second and split"],
)
def test_a_cache_is_seen_block_by_block(cache: Tensor, block: Callable[..., Tensor]) -> None:
    """In every layout, and without a copy."""
    view = _by_block(cache, BLOCKS)

    assert len(view) == BLOCKS
    for number in (0, 1, BLOCKS - 1):
        assert view[number].flatten().tolist() == block(cache, number).flatten().tolist()
        view[number].zero_()
        assert not block(cache, number).any()


def test_another_layout_is_refused() -> None:
    """A cache in which no dimension is the block would be copied in the wrong places."""
    with pytest.raises(UnsupportedError, match=r"shape \(3, 5, 64\) is not laid out in 64 blocks"):
        SpareBlocks([_cache(3, 5, BLOCKS)], BLOCKS, [SIZE])


def test_a_block_goes_to_a_spare_one_and_back() -> None:
    """What is written to the copy is the request's once it is copied back, and not before."""
    caches = [_cache(BLOCKS, HEADS, SIZE), _cache(2, BLOCKS, SIZE)]
    spares = SpareBlocks([*caches, caches[0]], BLOCKS, [SIZE])
    before = [cache.clone() for cache in caches]
    owned = [[10, 20, 30]]
    position = 2 * SIZE + 1

    spares.copy([(1, spares.tail(owned, position))], back=False)
    assert spares.tail(owned, position) == (30,)
    assert spares.instead(owned, position, 1) == ([10, 20, 2],)
    assert torch.equal(caches[0][2], before[0][30])
    assert torch.equal(caches[1][:, 2], before[1][:, 30])

    caches[0][2] = caches[1][:, 2] = -1.0
    assert torch.equal(caches[0][30], before[0][30])
    spares.copy([(1, spares.tail(owned, position))], back=True)
    for now, was in zip(caches, before, strict=True):
        pairs = zip(_by_block(now, BLOCKS), _by_block(was, BLOCKS), strict=True)
        changed = [n for n, (new, old) in enumerate(pairs) if not torch.equal(new, old)]
        assert changed == [2, 30]
        assert (_by_block(now, BLOCKS)[30] == -1.0).all()


def test_each_group_has_spare_blocks_of_its_own() -> None:
    """A set is one block per group; a position is in another block where sizes differ."""
    cache = _cache(128, SIZE)
    spares = SpareBlocks([cache], 128, [SIZE, 2 * SIZE])
    owned = [[40, 41, 42], [50, 51]]
    position = 2 * SIZE

    assert len(spares) == 2
    assert spares.tail(owned, position) == (42, 51)
    assert spares.instead(owned, position, 0) == ([40, 41, 1], [50, 2])
    assert spares.instead(owned, position, 1) == ([40, 41, 3], [50, 4])
    spares.copy([(1, (42, 51)), (0, (40, 50))], back=False)
    for spare, block in {1: 40, 2: 50, 3: 42, 4: 51}.items():
        assert torch.equal(cache[spare], cache[block])


def test_nothing_to_copy_is_nothing() -> None:
    """No candidate has a spare block in most steps."""
    cache = _cache(BLOCKS, SIZE)
    SpareBlocks([cache], BLOCKS, [SIZE]).copy([], back=True)

    assert torch.equal(cache, _cache(BLOCKS, SIZE))
