"""What identifies the code under test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from compat import checkout
from compat.checkout import INTERPRETED, ROOT, SUITE
from compat.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


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
    lanes = ("cpu", "cuda-sm90", INTERPRETED)
    return {lane: checkout._suite_digest(checkout.ROOT / SUITE, lane) for lane in lanes}


@pytest.mark.parametrize(
    "name",
    [
        "interpreter/triton_cpu_standin/driver.py",
        "interpreter/triton_cpu_standin-1.dist-info/entry_points.txt",
        "interpreter/vllm-0+cpu.dist-info/METADATA",
    ],
)
def test_what_a_lane_does_not_use_is_not_in_its_digest(suite: Path, name: str) -> None:
    """The stand-in belongs to the lane whose kernels are interpreted; all of it does."""
    before = digests()
    add(suite / name, "ADDED = 1\n")
    after = digests()

    changed = {lane for lane in before if before[lane] != after[lane]}
    assert changed == {INTERPRETED}


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
