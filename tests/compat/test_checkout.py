"""What identifies the code under test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from compat import checkout, lanes
from compat.checkout import ROOT, SUITE
from compat.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

INTERPRETED = {"cpu-interpreted", "cpu-interpreted-async"}
ASYNCHRONOUS = {"cpu-async", "cpu-interpreted-async"}


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite in a checkout of its own."""
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    for name in (SUITE, checkout.CONTRACTS):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path / SUITE


def add(path: Path, text: str) -> None:
    """Write to the end of a file."""
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def digests() -> dict[str, str]:
    """The suite's by lane."""
    names = [*map(str, lanes.OF_A_CPU), "cuda-sm90"]
    return {lane: checkout._suite_digest(checkout.ROOT / SUITE, lane) for lane in names}


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("interpreter/triton_cpu_standin/driver.py", INTERPRETED),
        ("interpreter/triton_cpu_standin-1.dist-info/entry_points.txt", INTERPRETED),
        ("interpreter/vllm-0+cpu.dist-info/METADATA", INTERPRETED),
        ("asynchronous/cpu_async_standin/__init__.py", ASYNCHRONOUS),
        ("asynchronous/cpu_async_standin-1.dist-info/entry_points.txt", ASYNCHRONOUS),
    ],
)
def test_what_a_lane_does_not_use_is_not_in_its_digest(
    suite: Path, name: str, users: set[str]
) -> None:
    """A stand-in belongs to the lanes where it stands in; all of it does."""
    before = digests()
    add(suite / name, "ADDED = 1\n")
    after = digests()

    changed = {lane for lane in before if before[lane] != after[lane]}
    assert changed == users


def test_what_all_lanes_use_is_in_every_digest(suite: Path) -> None:
    """A test and the settings of pytest decide on each lane; a docstring on none."""
    before = digests()
    add(suite / "test_boot.py", '"""Prose."""\n')
    assert digests() == before

    for name in ("test_boot.py", "pytest.ini"):
        add(suite / name, "added = 1\n")
        after = digests()
        assert all(before[lane] != after[lane] for lane in before)
        before = after


def test_prose_is_not_in_the_digest_of_the_contracts(suite: Path) -> None:
    """Nor are compiled files; another contract is."""
    del suite
    before = checkout.contracts_digest()
    folder = checkout.ROOT / checkout.CONTRACTS
    path = folder / "worker.py"
    path.write_text(f"# Prose.\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    (folder / "worker.pyc").touch()
    assert checkout.contracts_digest() == before

    add(path, "SURFACES = ()\n")
    assert checkout.contracts_digest() != before


def test_code_that_is_none_is_named(suite: Path) -> None:
    """The command says which file it is, and is not traced."""
    (suite / "test_boot.py").write_text("def", encoding="utf-8")

    with pytest.raises(UsageError, match=r"test_boot\.py"):
        checkout._suite_digest(suite, "cpu")
