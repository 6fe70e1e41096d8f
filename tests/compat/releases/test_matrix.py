"""The plan of the matrix, as GitHub Actions reads it and as it comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from compat.errors import UsageError
from compat.releases import matrix, policy
from compat.releases.candidates import Build, Candidate, Wheel, load_candidates
from compat.releases.policy import CellKind
from tests.compat.samples import CELL, HASH, passed

if TYPE_CHECKING:
    from pathlib import Path

CPU, V2 = CellKind("cpu", "default", "0.19.0"), CellKind("cpu-interpreted", "v2", "0.29.0")
CUDA = CellKind("cuda-sm80", "default", "0.19.0")


def candidate(version: str, *lanes: str) -> Candidate:
    """A release with builds for these lanes."""
    builds = tuple(Build(lane, "vllm", (Wheel("w.whl", HASH),)) for lane in lanes)
    return Candidate(Version(version), ">=3.10", "2.13.0", "13.0", builds)


def test_each_kind_of_cell_of_each_release_with_such_a_build_is_planned() -> None:
    """Lanes without a build and releases before a kind's first are left out."""
    cells = matrix.planned(
        [candidate("0.28.0", "cpu", "cuda"), candidate("0.33.0.post1", "cpu")], [CPU, V2, CUDA]
    )

    assert [cell.name for cell in cells] == [
        "0.28.0-cpu-default",
        "0.28.0-cuda-sm80-default",
        "0.33.0.post1-cpu-default",
        "0.33.0.post1-cpu-interpreted-v2",
    ]
    assert {cell.device for cell in cells} == {"cpu", "cuda"}


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """What a job hands on is what the next one reads."""
    cells = matrix.planned(load_candidates(), policy.load().cells)
    path = tmp_path / "plan.json"
    path.write_text(matrix.dumps(cells), encoding="utf-8")

    assert matrix.load(path) == cells
    assert set(json.loads(path.read_text("utf-8"))["include"][0]) == {
        *("name", "vllm", "lane", "runner")
    }


@pytest.mark.parametrize("count", [0, matrix.MOST_JOBS + 1])
def test_a_plan_that_actions_would_refuse_is_refused(count: int) -> None:
    """None, and more than 256, are errors here and not on the server."""
    with pytest.raises(UsageError, match=f"has {count} cells"):
        matrix.planned([candidate(f"0.{20 + i}.0", "cpu") for i in range(count)], [CPU])


GOOD = {"name": "0.28.0-cpu-default", "vllm": "0.28.0", "lane": "cpu", "runner": "default"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "list `include`"),
        ({"include": {}}, "list `include`"),
        ({"include": []}, "has 0 cells"),
        ({"include": [GOOD], "exclude": []}, "nothing else"),
        ({"include": [GOOD, GOOD]}, "occurs twice"),
        (
            {"include": [GOOD, {**GOOD, "runner": "v1", "name": "0.28.0-cpu-v1"}]},
            "default beside another",
        ),
        ({"include": [{**GOOD, "extra": "1"}]}, "unknown key"),
        ({"include": [{**GOOD, "name": "0.28.0-cpu"}]}, "is no cell"),
        (
            {"include": [{**GOOD, "vllm": "0.28.0; id", "name": "0.28.0; id-cpu-default"}]},
            "no cell",
        ),
        ({"include": [{**GOOD, "lane": "$(id)", "name": "0.28.0-$(id)-default"}]}, "no cell"),
        ({"include": [{**GOOD, "runner": "v3", "name": "0.28.0-cpu-v3"}]}, "no cell"),
    ],
)
def test_a_matrix_that_no_plan_gives_is_refused(body: object, told: str, tmp_path: Path) -> None:
    """Its content ends in commands, so nothing but a cell gets through."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(body), encoding="utf-8")

    with pytest.raises(UsageError, match=told):
        matrix.load(path)


@pytest.mark.parametrize(
    ("runner", "of_row", "covered"),
    [
        ("default", "v1", True),
        ("default", None, True),
        ("v2", "v2", True),
        ("v2", None, True),
        ("v2", "v1", False),
    ],
)
def test_which_rows_come_from_a_job(runner: str, of_row: str | None, *, covered: bool) -> None:
    """A job without a wish takes either runner; one with a wish takes that one."""
    row = passed(cell=replace(CELL, runner=of_row))

    assert matrix.cell("0.28.0", "cpu", runner).covers(row) is covered
    assert not matrix.cell("0.28.0", "cpu-interpreted", runner).covers(row)
