"""Evidence that still speaks for a cell, so that the cell need not be run again.

It does if nothing has changed that decides a run: the engine's code, the suite, the contracts,
vLLM's wheel, and the setup, which is what is installed, in which isolation, for which runner.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from compat.axes import DEFAULT
from compat.cell.verdict import REQUIRED_SENTINELS
from compat.isolate import locks, recipes
from compat.isolate.image import CONTAINERFILE
from compat.isolate.protocol import UNWANTED
from value_steer import versions
from value_steer.registry.model import Cell, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from compat.cell.target import RunTarget
    from value_steer.registry.model import Package
    from value_steer.registry.rows import Row


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs that decide how a run ends.

    Attributes:
        target: What is to be tested.
        setup_sha256: See :func:`setup_digest`.
        package: The checkout.
    """

    target: RunTarget
    setup_sha256: str
    package: Package


def inputs(target: RunTarget, package: Package) -> Inputs:
    """The inputs of a run of a target now, with this checkout."""
    return Inputs(target, setup_digest(target), package)


def setup_digest(target: RunTarget) -> str:
    """Identifies what is installed, in which isolation, and the runner that is asked for."""
    rules, isolation = target.rules, target.isolation
    base = [isolation.python]
    if isolation.kind == "container":
        base += [rules.base_image, rules.debian_suite, CONTAINERFILE.read_text(encoding="utf-8")]
    recipe = recipes.recipe(target.candidate, target.lane, rules)
    kept = locks.path_of(recipe, isolation.python)
    lock = kept.read_text(encoding="utf-8") if kept.exists() else None
    asked: list[object] = [isolation.kind, target.runner, target.lane, asdict(recipe)]
    asked += [base, UNWANTED, lock]
    if target.gpus:
        # One GPU leaves out the tests of several.
        asked += [asdict(target.options), target.gpus > 1]
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
            if row.verdict is Verdict.PASSED and _is_about(row.cell, wanted.target, mode)
        ]
        newest = max(passed, key=lambda row: row.recorded_at, default=None)
        if newest is not None and (changed := differences(newest, wanted)):
            yield newest, changed


def differences(row: Row, wanted: Inputs) -> tuple[str, ...]:
    """The inputs in which a row differs from a run now."""
    then, now = row.package, wanted.package
    same = {
        "the engine's code": then.engine_digest == now.engine_digest,
        "the suite": then.suite_digest == now.suite_digest,
        "the contracts": then.contracts_digest == now.contracts_digest,
        "vLLM's wheel": row.upstream.sha256 in {w.sha256 for w in wanted.target.build.wheels},
        "the setup": row.environment.setup_sha256 == wanted.setup_sha256,
    }
    return tuple(name for name, equal in same.items() if not equal)


def _holding(wanted: Inputs, mode: str, rows: Sequence[Row]) -> Row | None:
    """The row that holds for a mode among those that nothing has changed since, if it passed."""
    own = [row for row in rows if _is_about(row.cell, wanted.target, mode)]
    alike = [row for row in own if not differences(row, wanted)]
    holding = [versions.decide(alike, row.cell) for row in alike]
    withdrawn = any(row.verdict is Verdict.WITHDRAWN for row in own)
    passed = all(row is not None and row.verdict is Verdict.PASSED for row in holding)
    return holding[-1] if holding and passed and not withdrawn else None


def _is_about(cell: Cell, target: RunTarget, mode: str) -> bool:
    runner = cell.runner if target.runner == DEFAULT else target.runner
    return cell.includes(Cell(target.vllm, target.lane, runner, mode))
