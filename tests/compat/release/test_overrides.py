"""Reviewed decisions: strict to read, and not for ever."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from compat.errors import UsageError
from compat.release import overrides
from compat.release.overrides import Action

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
overrides:
  - vllm: 0.30.0
    action: include
    reason: the runner is away for a week
    reviewed_by: a maintainer
    expires: 2027-01-31
"""
TODAY = date(2027, 1, 1)


def write(folder: Path, text: str) -> Path:
    """The file with this text."""
    path = folder / "overrides.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_file_is_read() -> None:
    """It is valid as it stands."""
    assert isinstance(overrides.load(), tuple)


def test_a_decision_is_read(tmp_path: Path) -> None:
    """With its day as a day."""
    (found,) = overrides.load(write(tmp_path, GOOD))

    assert (found.vllm, found.action, found.expires) == (
        "0.30.0",
        Action.INCLUDE,
        date(2027, 1, 31),
    )
    assert list(overrides.problems([found], TODAY, 90)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("reason: the runner is away for a week", "reason: because", "reason"),
        ("    reviewed_by: a maintainer\n", "", "reviewed_by"),
        ("    expires: 2027-01-31\n", "", "expires"),
        ("expires: 2027-01-31", "expires: never", "expires"),
        ("expires: 2027-01-31", "expires: 2027-02-30", "day is out of range|must be in 1..28"),
        ("action: include", "action: ignore", "action"),
        ("action: include", "action: include\n    surprise: 1", "surprise"),
        ("vllm: 0.30.0", "vllm: 0.30", "vllm"),
        ("vllm: 0.30.0", "vllm: 0.30.0.RC1", "vllm"),
        ("vllm: 0.30.0", "vllm: 0.30.0rc01", "normalised"),
        ("overrides:", "more: 1\noverrides:", "more"),
        ("overrides:", "[", "YAML"),
        (GOOD, "", "object"),
        ("overrides:", GOOD.removesuffix("\n"), "twice"),
    ],
)
def test_a_mistake_is_named(old: str, new: str, told: str, tmp_path: Path) -> None:
    """The error has the file and the key."""
    with pytest.raises(UsageError, match=rf"(?s)overrides\.yaml.*({told})"):
        overrides.load(write(tmp_path, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("today", "told"),
    [
        (date(2027, 1, 31), None),
        (date(2027, 2, 1), "expired on 2027-01-31"),
        (date(2026, 10, 1), "more than 90 days ahead"),
    ],
)
def test_a_decision_ends(today: date, told: str | None, tmp_path: Path) -> None:
    """It holds on its last day and not on the next, and cannot be made for ever."""
    found = list(overrides.problems(overrides.load(write(tmp_path, GOOD)), today, 90))

    assert len(found) == (0 if told is None else 1)
    assert told is None or told in found[0]
