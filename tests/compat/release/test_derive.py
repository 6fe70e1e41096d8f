"""What is generated follows from the registry, and nothing else about it can change."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from compat import git
from compat.errors import UsageError
from compat.registry import store
from compat.release import derive, inventory
from tests.compat.checkouts import ROOT, checkout, edit, evidence
from tests.compat.samples import CELL, failed

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = [
    Version(v) for v in ("0.9.2", "0.28.0rc1", "0.28.0", "0.28.0.post1", "0.28.0.1", "0.30.0")
]


def test_nothing_has_drifted_in_this_checkout(tmp_path: Path) -> None:
    """After a change of the registry or the candidates, `python -m compat derive` is run.

    A run of a cell adds to the registry, which is no change until it is committed.
    """
    committed = git.text(ROOT, "show", f"HEAD:{inventory.REGISTRY}")
    registry = tmp_path / "registry.json"
    registry.write_text(committed or "", encoding="utf-8")
    known = [inventory.load(ROOT)]
    if committed is not None:
        known.append(inventory.load(ROOT, registry))

    assert () in [derive.drift(ROOT, one) for one in known]


@given(st.sets(st.sampled_from(VERSIONS), min_size=1))
def test_the_extra_admits_exactly_what_is_supported(supported: set[Version]) -> None:
    """Whatever the holes, no other known release is inside."""
    spec = derive.specifier(sorted(supported), VERSIONS)

    assert derive.inside(spec, VERSIONS) == tuple(sorted(supported))


@pytest.mark.parametrize(
    ("supported", "written"),
    [
        (["0.28.0"], "==0.28.0"),
        (["0.27.1", "0.28.0"], ">=0.27.1,<=0.28.0"),
        (["0.26.0", "0.28.0"], ">=0.26.0,<=0.28.0,!=0.27.0,!=0.27.1"),
    ],
)
def test_the_extra_is_written_into_the_project(
    supported: list[str], written: str, tmp_path: Path
) -> None:
    """Bounds first, then the holes in order, and the rest of the file as it was."""
    root = checkout(tmp_path, evidence(*supported))

    text = (root / "pyproject.toml").read_text("utf-8")
    assert f'\nvllm = ["vllm{written}"]\n' in text
    former = (ROOT / "pyproject.toml").read_text("utf-8")
    assert len(set(former.splitlines()) ^ set(text.splitlines())) in (0, 2)


def test_nothing_supported_is_an_error(tmp_path: Path) -> None:
    """An extra without a release cannot be written."""
    with pytest.raises(UsageError, match="no release of vLLM has the evidence"):
        checkout(tmp_path, [failed()])


def test_old_and_stale_evidence_keeps_a_release_inside(tmp_path: Path) -> None:
    """The gate waits for new evidence; the extra does not flap."""
    rows = evidence("0.28.0", digest="cd" * 32, day="2001-01-01T00:00:00Z")

    assert inventory.load(checkout(tmp_path, rows)).supported == (Version("0.28.0"),)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("pyproject.toml", "vllm=={}"),
        ("README.md", "| {} | not checked | ✓ passed"),
        ("docs/compatibility.md", "| {} | v1 | not checked | cpu"),
        ("matrix/actions.json", '"{}-cpu-default"'),
    ],
)
def test_an_edit_by_hand_is_drift(name: str, place: str, tmp_path: Path) -> None:
    """And the next derivation takes it back."""
    root = checkout(tmp_path, evidence("0.28.0"))
    before = (root / name).read_text("utf-8")
    edit(root / name, place.format("0.28.0"), place.format("0.27.9"))
    known = inventory.load(root)

    assert derive.drift(root, known) == (root / name,)
    assert derive.write(root, known) == (root / name,)
    assert (root / name).read_text("utf-8") == before
    assert derive.drift(root, known) == ()


def test_new_evidence_is_drift(tmp_path: Path) -> None:
    """What is recorded shows wherever evidence is shown."""
    root = checkout(tmp_path, evidence("0.28.0"))
    store.append(root / inventory.REGISTRY, evidence("0.29.0"))

    names = {path.name for path in derive.drift(root, inventory.load(root))}
    assert names == {"pyproject.toml", "README.md", "compatibility.md", "vllm-0.29.json"}


def test_the_badge_of_a_series_that_is_gone_is_removed(tmp_path: Path) -> None:
    """No badge outlives its series."""
    root = checkout(tmp_path, evidence("0.28.0"))
    left = root / "badges" / "vllm-0.1.json"
    shutil.copy(root / "badges" / "vllm-0.28.json", left)
    known = inventory.load(root)

    assert derive.drift(root, known) == (left,)
    derive.write(root, known)
    assert not left.exists()


def test_badges_say_what_and_when(tmp_path: Path) -> None:
    """Shields' schema, one per series, the date of the evidence in the message."""
    bad = failed(cell=replace(CELL, vllm="0.29.0"))
    root = checkout(tmp_path, [*evidence("0.25.0", "0.28.0"), evidence("0.30.0")[0], bad])
    badges = {
        path.stem: json.loads(path.read_text("utf-8")) for path in (root / "badges").iterdir()
    }

    assert badges["vllm-0.28"] == {
        "schemaVersion": 1,
        "label": "vLLM 0.28",
        "message": "0.28.0 passed on cpu · 2020-05-06",
        "color": "brightgreen",
    }
    told = {name: (badge["message"], badge["color"]) for name, badge in badges.items()}
    assert told["vllm-0.25"] == ("0.25.0 passed on cpu · 2020-05-06", "yellow")
    assert told["vllm-0.29"] == ("0.29.0 failed · 2020-05-06", "red")
    assert told["vllm-0.30"] == ("0.30.0 in part · 2020-05-06", "yellow")
    assert told["vllm-0.31"] == ("0.31.0 not tested", "lightgrey")


@pytest.mark.parametrize("name", ["pyproject.toml", "README.md", "docs/compatibility.md"])
def test_a_file_without_its_place_is_an_error(name: str, tmp_path: Path) -> None:
    """Nothing is appended at a guess."""
    root = checkout(tmp_path, evidence("0.28.0"))
    (root / name).write_text("nothing\n", encoding="utf-8")

    with pytest.raises(UsageError, match=name):
        derive.write(root, inventory.load(root))
