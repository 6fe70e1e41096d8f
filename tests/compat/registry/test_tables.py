"""What a terminal shows of verdicts."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from compat.registry import tables
from tests.compat.samples import CELL, FAILED, HASH, PASSED
from value_steer.registry.model import Cause, Control, Depth

if TYPE_CHECKING:
    from rich.table import Table

LONGEST = replace(
    FAILED,
    cell=replace(CELL, vllm="0.28.10", lane="cpu-interpreted", runner="v2"),
    cause=Cause.PERFORMANCE,
    depth=Depth.PERFORMS,
    negative_control=Control.NOT_FIRED,
    tests=replace(FAILED.tests, expected=100, passed=99),
)


def shown(table: Table, columns: int) -> str:
    """A table on a terminal of so many columns."""
    console = Console(file=io.StringIO(), width=columns)
    console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    "table",
    [tables.run_table([PASSED, LONGEST]), tables.registry_table([PASSED, LONGEST], HASH)],
    ids=["run", "registry"],
)
def test_a_table_is_whole_at_80_columns(table: Table) -> None:
    """No header is cut and no word is broken, whatever the verdict."""
    narrow, wide = shown(table, 80), shown(table, 300)

    assert [line.split() for line in narrow.splitlines()] == [
        line.split() for line in wide.splitlines()
    ]
    assert max(map(len, narrow.splitlines())) <= 80


def test_a_run_says_what_decided() -> None:
    """Verdict with its cause, how deep it got, the tests and the control."""
    words = shown(tables.run_table([LONGEST]), 80).split()

    assert words[7:] == [
        *("0.28.10", "cpu-interpreted/v2", "abstain", "failed:", "performance"),
        *("performs", "99/100", "silent"),
    ]
