"""The command that runs every lane of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat import cli
from compat.cell.services import Services
from compat.errors import ExitCode
from compat.registry import store
from compat.release import sweep
from tests.compat.release.pretended import EMPTY, FakeJob, cells, row

if TYPE_CHECKING:
    from pathlib import Path

    from compat.releases.matrix import PlannedCell

EVERY = {
    "cpu": "default",
    "cpu-async": "default",
    "cpu-interpreted": "v2",
    "cpu-interpreted-async": "v2",
}
"""The lanes of a CPU and their runners, in the order of the policy."""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PlannedCell]:
    """The command line on a machine without a GPU, where two cells fail and none is really run."""
    started: list[PlannedCell] = []

    class Fakes(sweep.Processes):
        def __call__(self, cell: PlannedCell, is_last: bool) -> FakeJob:  # noqa: FBT001
            assert is_last in (True, False)
            started.append(cell)
            assert self.logs is not None
            self.logs.mkdir(exist_ok=True, parents=True)
            self.log(cell).write_text(f"the end of {cell.name}\n", encoding="utf-8")
            return FakeJob({"0.28.0": 1, "0.27.1": 3}.get(cell.vllm, 0))

    (tmp_path / "validated_versions.json").write_text(EMPTY, encoding="utf-8")
    monkeypatch.setattr(sweep, "Processes", Fakes)
    monkeypatch.setattr(sweep, "_POLL_SECONDS", 0.0)
    return started


def invoke(tmp_path: Path, *options: str) -> int:
    """Call it."""
    registry = tmp_path / "validated_versions.json"
    arguments = ["--registry", str(registry), "sweep", *options, "--out", str(tmp_path / "out")]
    return cli.main(arguments, Services(device=lambda: "cpu"))


def test_the_command_runs_every_lane_and_says_how_it_goes(
    tmp_path: Path, command: list[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    """First what is to come and what it needs; then each end, with the log of what did not pass."""
    store.append(
        tmp_path / "validated_versions.json",
        [row(cells("0.27.1")[0], seconds=600.0), row(cells("0.32.0")[0], seconds=1800.0)],
    )

    code = invoke(tmp_path, "0.28", "0.27.1", "0.32", "--lane", "cpu", "--jobs", "2")

    assert code == ExitCode.FAILED
    assert [cell.vllm for cell in command] == ["0.32.0", "0.27.1", "0.28.0"]
    told = capsys.readouterr().out
    assert "3 cells on cpu, 2 at a time" in told
    assert "about 0 h 30 min left if each is run" in told
    assert "GiB are free" in told
    assert "0.28.0-cpu-default: failed" in told
    assert "the end of 0.28.0-cpu-default" in told
    assert "the end of 0.32.0-cpu-default" not in told
    assert "3 of 3 cells done, about 0 h 0 min left" in told


def test_all_lanes_are_run_unless_one_is_named(
    tmp_path: Path, command: list[PlannedCell], capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy's four."""
    assert invoke(tmp_path, "0.32", "--jobs", "2") == ExitCode.PASSED
    assert [cell.lane for cell in command] == [*EVERY]
    assert "nothing was timed on this lane" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--lane cpu", ["cpu"]),
        ("--lane cpu-interpreted", ["cpu-interpreted"]),
        ("--runner v2", ["cpu-interpreted", "cpu-interpreted-async"]),
        ("--async", ["cpu-async", "cpu-interpreted-async"]),
        ("--async --runner v2", ["cpu-interpreted-async"]),
        ("--lane cpu-async --async", ["cpu-async"]),
        ("--runner v1 --async", ["cpu-async"]),  # not in the policy, and no less a cell
    ],
)
def test_a_lane_a_runner_or_a_way_to_schedule_can_be_named(
    options: str, expected: list[str], tmp_path: Path, command: list[PlannedCell]
) -> None:
    """Each leaves out the lanes that it does not fit."""
    invoke(tmp_path, "0.32", *options.split(), "--jobs", "2")

    assert [cell.lane for cell in command] == expected
    runner = "v1" if "v1" in options else None
    assert {cell.runner for cell in command} == {runner or EVERY[lane] for lane in expected}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--lane", "cpu-asink"),
            "there are cpu, cpu-interpreted, cpu-async, cpu-interpreted-async",
        ),
        (("--lane", "cpu-interpreted", "--async"), "is lane cpu-async, not cpu-interpreted"),
    ],
)
def test_a_lane_that_is_none_starts_nothing(
    options: tuple[str, ...],
    told: str,
    tmp_path: Path,
    command: list[PlannedCell],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says which there are, or which it would be."""
    assert invoke(tmp_path, "0.32", *options) == ExitCode.USAGE
    assert told in " ".join(capsys.readouterr().err.split())
    assert command == []


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_some_cell_must_run(tmp_path: Path, jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A number of cells from one on."""
    with pytest.raises(SystemExit):
        invoke(tmp_path, "--jobs", jobs)
    assert "--jobs" in capsys.readouterr().err


def test_a_broken_registry_is_noticed_before_anything_is_started(
    tmp_path: Path, command: list[PlannedCell]
) -> None:
    """An hour of work would be lost otherwise."""
    (tmp_path / "validated_versions.json").write_text("{", encoding="utf-8")

    assert invoke(tmp_path) == ExitCode.USAGE
    assert command == []
