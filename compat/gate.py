"""What stands between this checkout and a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat import record
from value_steer import versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from compat.actions import PlannedCell
    from compat.evidence import Row


def unsettled(plan: Sequence[PlannedCell], rows: Sequence[Row]) -> Iterator[str]:
    """The cells of a plan whose newest run gave no verdict, or that were never run."""
    for cell in plan:
        own = [row for row in rows if cell.covers(row)]
        if not own:
            yield f"{cell.name}: no row in the registry; its job was lost"
        newest = {
            mode: max((r for r in own if r.cell.mode == mode), key=_age) for mode in _modes(own)
        }
        for mode, row in newest.items():
            if row.verdict not in versions.DECIDING:
                yield f"{cell.name}, {mode}: {row.verdict.value}: {row.reason}"


def examine(registry: Path, plan: Sequence[PlannedCell] = ()) -> tuple[str, ...]:
    """Everything that keeps the gate shut."""
    rows = record.load(registry)
    return tuple(unsettled(plan, rows))


def _modes(rows: Sequence[Row]) -> list[str]:
    return sorted({row.cell.mode for row in rows})


def _age(row: Row) -> tuple[str, bool]:
    return row.recorded_at, row.verdict not in versions.DECIDING
