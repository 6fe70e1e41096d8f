"""A snapshot of each of many releases, taken side by side and kept."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from value_steer.contracts.history import snapshot as snapshots
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.errors import ContractError
from value_steer.records.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from value_steer.contracts.history.snapshot import Snapshot
    from value_steer.contracts.sources.index import IndexWheel
    from value_steer.contracts.sources.pip_config import IndexSettings

# Each holds the syntax trees of one release, which take 100 MiB.
_MOST_WORKERS = 3


@dataclass(frozen=True, slots=True)
class Unread:
    """A release whose wheel cannot be read; it says nothing of the others.

    Attributes:
        version: The release.
        reason: What is wrong with its wheel.
    """

    version: str
    reason: str


def sweep(
    wheels: Sequence[IndexWheel], settings: IndexSettings, cache: Path
) -> tuple[Snapshot | Unread, ...]:
    """A snapshot of each wheel, in the given order; none is taken twice."""
    kept = {wheel: snapshots.load(_place(cache, wheel)) for wheel in wheels}
    missing = [wheel for wheel, found in kept.items() if found is None]
    taken = dict(zip(missing, _all(missing, settings, cache), strict=True))
    return tuple(kept[wheel] or taken[wheel] for wheel in wheels)


def _all(wheels: list[IndexWheel], settings: IndexSettings, cache: Path) -> list[Snapshot | Unread]:
    take = partial(_take, settings=settings, cache=cache)
    workers = min(len(wheels), _MOST_WORKERS, 1 + (os.cpu_count() or 1))
    if workers < 2:
        return take(wheels)
    # Neighbours share most files, so each worker gets a run of them.
    size = -(-len(wheels) // workers)
    runs = [wheels[start : start + size] for start in range(0, len(wheels), size)]
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=gc.disable) as pool:
        return [snapshot for run in pool.map(take, runs) for snapshot in run]


def _take(
    wheels: Sequence[IndexWheel], settings: IndexSettings, cache: Path
) -> list[Snapshot | Unread]:
    taken: list[Snapshot | Unread] = []
    wanted = dict.fromkeys(snapshots.row_paths())
    for wheel in wheels:
        tree = WheelTree(wheel, settings, cache)
        try:
            tree.prefetch(wanted)
            snapshot = snapshots.take(tree)
        except ContractError as error:
            taken.append(Unread(str(wheel.version), str(error)))
            continue
        # Names are handed on through much the same files in the next release.
        wanted |= dict.fromkeys(tree.paths)
        tree.save()
        write_atomically(_place(cache, wheel), snapshots.dump(snapshot))
        taken.append(snapshot)
    return taken


def _place(cache: Path, wheel: IndexWheel) -> Path:
    return cache / wheel.sha256 / f"contracts-{snapshots.rows_digest()}.json"
