"""Evidence that still speaks for a cell, so that the cell need not be run again.

It does if nothing has changed that decides a run: the engine's code, the suite, the contracts,
vLLM's wheel, and the setup, which is what is installed, in which isolation, for which runner.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from compat import git, product, recipes
from compat.errors import UsageError
from compat.evidence import Cell, Verdict
from compat.isolate import locks
from compat.isolate.image import CONTAINERFILE
from compat.isolate.protocol import UNWANTED
from compat.verdict import REQUIRED_SENTINELS
from value_steer import versions
from value_steer.registry import public_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from compat.attempt import Cell as Wanted
    from compat.evidence import Package, Row
    from compat.isolate.protocol import Isolation
    from compat.policy import Policy

_RUNNERS_OF_LANES = {"cpu": "v1", "cpu-interpreted": "v2"}
"""Where a lane has one runner only, whichever was asked for."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What decides how a run of a cell ends.

    Attributes:
        cell: What is to be tested.
        isolation: ``container`` or ``venv``.
        setup_sha256: See :func:`setup_digest`.
        lock_sha256: Hash of the kept lock; ``None`` if there is none, so that any will do.
        package: The checkout.
    """

    cell: Wanted
    isolation: str
    setup_sha256: str
    lock_sha256: str | None
    package: Package


def inputs(cell: Wanted, isolation: Isolation, rules: Policy) -> Inputs:
    """What a run of a cell would come of now."""
    recipe = recipes.recipe(cell.candidate, cell.lane, rules)
    return Inputs(
        cell=cell,
        isolation=isolation.kind,
        setup_sha256=setup_digest(cell, isolation.kind, rules),
        lock_sha256=kept_lock(locks.path_of(recipe, isolation.python)),
        package=product.checkout(cell.lane),
    )


def kept_lock(path: Path) -> str | None:
    """The hash of a lock, as rows state that of what was installed; ``None`` without a file."""
    if not path.exists():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    packages = tuple(line for line in lines if not line.startswith("#"))
    return hashlib.sha256(locks.dumps(packages).encode()).hexdigest()


def setup_digest(cell: Wanted, isolation: str, rules: Policy) -> str:
    """Identifies what is installed, in which isolation, and the runner that is asked for."""
    python = rules.python
    if isolation == "container":
        base = [rules.base_image, rules.debian_suite, CONTAINERFILE.read_text(encoding="utf-8")]
    else:
        base = list(platform.python_version_tuple()[:2])
        python = ".".join(base)
    recipe = recipes.recipe(cell.candidate, cell.lane, rules)
    kept = locks.path_of(recipe, python)
    lock = kept.read_text(encoding="utf-8") if kept.exists() else None
    asked = [isolation, cell.runner, cell.lane, asdict(recipe), base, UNWANTED, lock]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def find(wanted: Inputs, rows: Sequence[Row]) -> tuple[Row, ...]:
    """One passed row for each mode, or none at all: a run covers every mode."""
    found = [_holding(wanted, mode, rows) for mode in sorted(REQUIRED_SENTINELS)]
    held = tuple(row for row in found if row is not None)
    return held if len(held) == len(found) else ()


def outdated(wanted: Inputs, rows: Sequence[Row]) -> Iterator[tuple[Row, tuple[str, ...]]]:
    """For each mode the newest passed row, and what changed since, if that is why it is no use."""
    for mode in sorted(REQUIRED_SENTINELS):
        passed = [
            row
            for row in rows
            if row.verdict is Verdict.PASSED and _is_about(row.cell, wanted.cell, mode)
        ]
        newest = max(passed, key=lambda row: row.recorded_at, default=None)
        if newest is not None and (changed := differences(newest, wanted)):
            yield newest, changed


def differences(row: Row, wanted: Inputs) -> tuple[str, ...]:
    """What a row was recorded with that is not what would be run now."""
    then, now = row.package, wanted.package
    build = wanted.cell.candidate.build(wanted.cell.lane)
    same = {
        "the engine's code": then.engine_digest == now.engine_digest,
        "the suite": then.suite_digest == now.suite_digest,
        "the contracts": _contracts(then) == now.contracts_digest,
        "vLLM's wheel": row.upstream.sha256 in {wheel.sha256 for wheel in build.wheels},
        "the setup": _is_same_setup(row, wanted),
    }
    return tuple(name for name, equal in same.items() if not equal)


def _holding(wanted: Inputs, mode: str, rows: Sequence[Row]) -> Row | None:
    """The row that holds for a mode among those that nothing has changed since, if it passed."""
    own = [row for row in rows if _is_about(row.cell, wanted.cell, mode)]
    alike = [row for row in own if not differences(row, wanted)]
    holding = [versions.decide(alike, row.cell) for row in alike]
    withdrawn = any(row.verdict is Verdict.WITHDRAWN for row in own)
    passed = all(row is not None and row.verdict is Verdict.PASSED for row in holding)
    return holding[-1] if holding and passed and not withdrawn else None


def _is_about(cell: Cell, wanted: Wanted, mode: str) -> bool:
    runner = cell.runner if wanted.runner == "default" else wanted.runner
    return cell.includes(Cell(str(wanted.candidate.version), wanted.lane, runner, mode))


def _is_same_setup(row: Row, wanted: Inputs) -> bool:
    if row.environment.setup_sha256 is not None:
        return row.environment.setup_sha256 == wanted.setup_sha256
    # An older row does not say what was asked for, only what came of it.
    cell, environment = wanted.cell, row.environment
    torch = environment.torch and public_version(environment.torch)
    sure = _RUNNERS_OF_LANES.get(cell.lane) == row.cell.runner or cell.runner != "default"
    fits = environment.isolation == wanted.isolation and torch == cell.candidate.torch
    return sure and fits and wanted.lock_sha256 in (None, environment.lock_sha256)


def _contracts(package: Package) -> str | None:
    """The contracts that a row was recorded with; those of an older row are in its commit."""
    if package.contracts_digest is not None or package.commit is None or package.dirty:
        return package.contracts_digest
    return _contracts_at(package.commit)


@functools.cache
def _contracts_at(commit: str) -> str | None:
    files = git.files_at(product.ROOT, commit, product.CONTRACTS)
    try:
        return None if files is None else product.digest(files)
    except UsageError:  # contracts that no Python can read were never checked
        return None
