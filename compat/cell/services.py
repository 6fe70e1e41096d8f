"""A run's services of the machine and the checkout, in one place; tests put their own there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat import checkout, isolate
from compat.cell import gpu, steps
from compat.isolate import locks
from compat.releases import policy
from compat.releases.candidates import load_candidates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.cell.gpu import Gpus
    from compat.cell.reports import CollectedTest
    from compat.cell.target import RunTarget
    from compat.checkout import Product
    from compat.isolate import Choice
    from compat.isolate.protocol import Recipe
    from compat.releases.candidates import Candidate
    from compat.releases.policy import Policy
    from value_steer.registry.model import Package

_GIB = 1 << 30


def free_gib(folder: Path) -> float:
    """Free space on the disk that holds a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free / _GIB


@dataclass(frozen=True, slots=True)
class Services:
    """Everything outside of a run that it depends on.

    Attributes:
        candidates: The releases that can be tested, oldest first.
        rules: The policy.
        device: The lane of this machine's first GPU, or ``cpu``.
        gpus: How many GPUs this machine has, and their driver.
        choose: The isolation for a wish (``auto``, ``container``, ``venv``).
        lock: The packages that a recipe comes to, for a Python; the path is that of the log.
        build: The wheel of this checkout and the suite, laid out below a folder for a lane.
        collect: The tests that a run of a target must contain, of a suite.
        identify: What identifies this checkout on a lane, without building it.
        free_gib: Free space below a folder, in GiB.
    """

    candidates: Callable[[], tuple[Candidate, ...]] = load_candidates
    rules: Callable[[], Policy] = policy.load
    device: Callable[[], str] = gpu.lane
    gpus: Callable[[], Gpus] = gpu.survey
    choose: Callable[..., Choice] = isolate.choose
    lock: Callable[[Recipe, str, Path], tuple[str, ...]] = locks.lock
    build: Callable[[Path, str], Product] = checkout.build
    collect: Callable[[Path, RunTarget], tuple[CollectedTest, ...]] = steps.collect
    identify: Callable[[str], Package] = checkout.identify
    free_gib: Callable[[Path], float] = free_gib
