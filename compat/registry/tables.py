"""Verdicts as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from value_steer import versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from value_steer.registry.rows import Row

_COLOURS = {"passed": "green", "failed": "red"}


def run_table(rows: Iterable[Row]) -> Table:
    """What a run found, a line per cell."""
    table = Table("vLLM", "lane", "runner", "mode", "verdict", "depth", "tests", "control", "took")
    for row in rows:
        table.add_row(
            row.cell.vllm,
            row.cell.lane,
            row.cell.runner or "-",
            row.cell.mode,
            _verdict(row),
            row.depth.value,
            f"{row.tests.passed}/{row.tests.expected}",
            row.negative_control.value.replace("_", " "),
            f"{row.seconds:.0f} s",
        )
    return table


def registry_table(rows: Sequence[Row], digest: str) -> Table:
    """What the registry says of every cell with a verdict, for the code of ``digest``."""
    table = Table("vLLM", "lane", "runner", "mode", "verdict", "depth", "recorded", "standing")
    for cell, row in versions.current(rows).items():
        table.add_row(
            cell.vllm,
            cell.lane,
            cell.runner or "-",
            cell.mode,
            _verdict(row),
            row.depth.value,
            row.recorded_at,
            versions.assess(cell, rows, digest).standing.value.replace("_", " "),
        )
    return table


def _verdict(row: Row) -> str:
    text = row.verdict.value + (f": {row.cause.value}" if row.cause else "")
    colour = _COLOURS.get(row.verdict.value, "yellow")
    return f"[{colour}]{escape(text)}[/{colour}]"
