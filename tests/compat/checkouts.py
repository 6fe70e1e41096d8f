"""Small checkouts with evidence that is made for the test."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from compat.registry import store
from compat.release import derive, inventory
from compat.release.gaps import Moment
from tests.compat.samples import CELL, HASH, PASSED, passed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from value_steer.registry.rows import Row

ROOT = Path(__file__).parents[2]
MOMENT = Moment(HASH, datetime(2020, 5, 8, tzinfo=timezone.utc))
"""Two days after the samples, and their code."""

CLEAN = replace(PASSED.package, dirty=False, commit="0" * 40)


def evidence(*versions: str, lane: str = "cpu", digest: str = HASH, day: str = "") -> list[Row]:
    """Good rows of both modes for these releases."""
    return [
        passed(
            cell=replace(CELL, vllm=version, mode=mode, lane=lane),
            package=replace(CLEAN, engine_digest=digest),
            recorded_at=day or PASSED.recorded_at,
        )
        for version in versions
        for mode in ("abstain", "vfd")
    ]


def checkout(folder: Path, rows: Iterable[Row], *, whole: bool = False) -> Path:
    """A checkout with these rows in which nothing has drifted.

    Args:
        folder: Where to put it.
        rows: Its registry.
        whole: With all that a build needs.
    """
    root = folder / "checkout"
    root.mkdir()
    names = ["pyproject.toml", "README.md", "docs", "matrix"]
    if whole:
        names += ["value_steer", "compat", "hatch_build.py", "LICENSE", "CHANGELOG.md"]
        names += ["CITATION.cff"]
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    (root / inventory.REGISTRY).write_text(store.render(rows), encoding="utf-8")
    derive.write(root, inventory.load(root))
    return root


def edit(path: Path, old: str, new: str) -> None:
    """Replace what must be in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
