"""Verdicts as tables for the terminal, whole at 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from value_steer import versions
from value_steer.registry.model import Control

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from value_steer.registry.model import Cause, Cell, Verdict
    from value_steer.registry.rows import Row

CONTROLS = {Control.FIRED: "fired", Control.NOT_FIRED: "silent", Control.NOT_RUN: "not run"}
_COLOURS = {"passed": "green", "failed": "red"}


def run_table(rows: Iterable[Row]) -> Table:
    """The result of a run, a line per mode."""
    table = plain("vLLM", "lane/runner", "mode", "verdict", "depth", "tests", "control")
    for row in rows:
        table.add_row(
            row.cell.vllm,
            _place(row.cell),
            row.cell.mode,
            verdict(row.verdict, row.cause),
            row.depth.value,
            f"{row.tests.passed}/{row.tests.expected}",
            CONTROLS[row.negative_control],
        )
    return table


def registry_table(rows: Sequence[Row], digest: str) -> Table:
    """The registry's state of every cell with a verdict, for the code of ``digest``."""
    table = plain("vLLM", "lane/runner", "mode", "verdict", "depth", "recorded", "standing")
    for cell, row in versions.current(rows).items():
        table.add_row(
            cell.vllm,
            _place(cell),
            cell.mode,
            verdict(row.verdict),
            row.depth.value,
            row.recorded_at[:10],
            versions.assess(cell, rows, digest).standing.value.replace("_", " "),
        )
    return table


def plain(*columns: str) -> Table:
    """A table without lines."""
    # Lines between the columns would take what the longest lane needs.
    return Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def _place(cell: Cell) -> str:
    return f"{cell.lane}/{cell.runner or '-'}"


def verdict(found: Verdict, cause: Cause | None = None) -> str:
    """A verdict in its colour, with its cause if there is one."""
    colour = _COLOURS.get(found.value, "yellow")
    text = f"{found.value}: {cause.value}" if cause else found.value
    return f"[{colour}]{escape(text)}[/{colour}]"
