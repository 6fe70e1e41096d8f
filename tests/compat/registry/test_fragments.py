"""Rows of parallel jobs: none is lost, none is believed unseen, a silent job shows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.errors import RecordError, ReportError
from compat.registry import fragments, store
from compat.releases import matrix
from tests.compat.samples import CELL, PASSED, VOID, failed, passed, rows
from value_steer import versions
from value_steer.registry.model import Provenance, Verdict

if TYPE_CHECKING:
    from value_steer.registry.rows import Row

EMPTY = store.render([])
LOCAL = Provenance("local", None)
PLAN = (matrix.cell("0.28.0", "cpu", "v1"), matrix.cell("0.28.0", "cpu", "v2"))
BOTH_MODES = (PASSED, passed(cell=replace(CELL, mode="vfd")))


@settings(max_examples=20)
@given(st.lists(rows(), max_size=7), st.data())
def test_any_partition_in_any_order_gives_the_same_bytes(
    every: list[Row], data: st.DataObject
) -> None:
    """However rows are spread over fragments, and whenever these are merged, nothing differs."""
    homes = data.draw(st.lists(st.integers(0, 3), min_size=len(every), max_size=len(every)))
    order = data.draw(st.permutations(range(4)))
    repeated = data.draw(st.integers(0, 3))
    with tempfile.TemporaryDirectory() as scratch:
        registry = Path(scratch) / "registry.json"
        registry.write_text(EMPTY, encoding="utf-8")
        for job in (*order, repeated):
            own = [row for row, home in zip(every, homes, strict=True) if home == job]
            fragments.write(Path(scratch) / str(job) / "a" / "fragment.json", own)
            fragments.merge(registry, Path(scratch) / str(job))

        assert registry.read_text(encoding="utf-8") == store.render(versions.kept(every))
        assert set(store.load_all(registry)) == set(every)


def _write(folder: Path, *own: Row, name: str = "fragment.json") -> Path:
    fragments.write(folder / name, own)
    return folder / name


def test_a_bad_fragment_does_not_cost_the_others(tmp_path: Path) -> None:
    """What can be read is kept, and what cannot is named."""
    _write(tmp_path / "good", PASSED)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "fragment.json").write_text("{", encoding="utf-8")

    gathered = fragments.gather(tmp_path)
    assert gathered.rows == (PASSED,)
    assert len(gathered.problems) == 1
    assert "bad/fragment.json" in gathered.problems[0]


def test_a_fragment_speaks_for_the_jobs_of_the_plan_alone(tmp_path: Path) -> None:
    """A row about another release is refused together with its fragment."""
    path = _write(tmp_path / "a", PASSED, passed(cell=replace(CELL, vllm="0.29.0")))

    gathered = fragments.gather(tmp_path, PLAN)
    assert gathered.rows == ()
    assert str(path) in gathered.problems[0]
    assert "no job of the plan" in gathered.problems[0]


def test_no_job_withdraws_anything(tmp_path: Path) -> None:
    """A withdrawal outweighs all evidence for good, so it comes from the package index alone."""
    _write(tmp_path, replace(VOID, verdict=Verdict.WITHDRAWN, reason="because"))

    gathered = fragments.gather(tmp_path)
    assert gathered.rows == ()
    assert "withdraws something" in gathered.problems[0]


def test_a_link_is_no_fragment(tmp_path: Path) -> None:
    """What lies outside of the folder is not read."""
    outside = _write(tmp_path / "outside", PASSED)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "fragment.json").symlink_to(outside)

    assert "a link" in fragments.gather(tmp_path / "jobs").problems[0]


def test_an_oversized_fragment_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds before anything is parsed."""
    _write(tmp_path, PASSED)
    monkeypatch.setattr(fragments, "LARGEST_BYTES", 100)

    assert "larger than" in fragments.gather(tmp_path).problems[0]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Unless a plan says what should have been in it."""
    with pytest.raises(ReportError, match="no such folder"):
        fragments.gather(tmp_path / "nothing")

    registry = tmp_path / "registry.json"
    registry.write_text(EMPTY, encoding="utf-8")
    merged = fragments.merge(registry, tmp_path / "nothing", PLAN)
    assert merged.lost_cells == PLAN
    assert len(merged.problems) == 1


def test_a_row_that_cannot_be_true_is_not_written(tmp_path: Path) -> None:
    """A job does not even write a false pass."""
    with pytest.raises(RecordError, match="swallowed errors"):
        fragments.write(tmp_path / "fragment.json", [passed(swallowed_errors=1)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "lost"),
    [
        (BOTH_MODES, []),
        ((PASSED,), ["vfd"]),
        ((failed(cell=replace(CELL, runner=None)), BOTH_MODES[1]), []),
        ((VOID,), ["vfd"]),
        ((), ["abstain", "vfd"]),
    ],
)
def test_a_job_that_sent_nothing_is_no_evidence(sent: tuple[Row, ...], lost: list[str]) -> None:
    """Each mode of each planned cell has a row, if need be one that says so."""
    found = list(fragments.missing(PLAN[:1], sent, {"cpu": PASSED.package}, LOCAL))

    assert [row.cell.mode for row in found] == lost
    assert {row.verdict for row in found} <= {Verdict.NO_EVIDENCE}
    assert all("0.28.0-cpu-v1" in (row.reason or "") for row in found)
    store.refuse_unrecordable(found)


def test_a_runner_that_was_asked_for_is_not_answered_by_another(tmp_path: Path) -> None:
    """The rows of V1 do not stand in for the killed job of V2."""
    registry = tmp_path / "registry.json"
    registry.write_text(EMPTY, encoding="utf-8")
    _write(tmp_path / "jobs", *BOTH_MODES)

    merged = fragments.merge(registry, tmp_path / "jobs", PLAN)
    assert merged.lost_cells == (PLAN[1],)
    assert {row.cell.runner for row in merged.lost} == {"v2"}
    assert set(store.load(registry)) == {*BOTH_MODES, *merged.lost}
