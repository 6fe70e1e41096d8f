"""The commands that jobs call, from their arguments to their exit codes and files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from compat import cli
from compat.cell.resolution import lane_of
from compat.cell.services import Services
from compat.cell.target import RunRequest
from compat.errors import ExitCode, UsageError
from compat.isolate import locks, resolver
from compat.registry import fragments, store
from compat.releases import matrix
from compat.releases.candidates import list_series, load_candidates
from tests.compat.checkouts import ROOT, evidence

if TYPE_CHECKING:
    from pathlib import Path


def test_the_plan_is_written_and_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is a strategy's matrix, and a step's outputs hold the same in one line."""
    outputs, out = tmp_path / "outputs", tmp_path / "plan.json"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    command = ["plan", "0.22", "--device", "cpu", "--out", str(out), "--github-output"]

    assert cli.main(command) == ExitCode.PASSED
    assert [cell.name for cell in matrix.load(out)] == [
        "0.22.1-cpu-default",
        "0.22.1-cpu-async-default",
    ]
    line, count = outputs.read_text("utf-8").splitlines()
    assert json.loads(line.removeprefix("matrix=")) == json.loads(out.read_text("utf-8"))
    assert count == "count=2"


def test_the_plan_is_printed_and_is_the_committed_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Without options it has every cell, and no line is broken by the terminal's width."""
    assert cli.main(["plan"]) == ExitCode.PASSED

    printed = capsys.readouterr().out
    assert printed == (ROOT / "matrix" / "actions.json").read_text("utf-8")
    assert set(list_series(load_candidates())) == {
        ".".join(entry["vllm"].split(".")[:2]) for entry in json.loads(printed)["include"]
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan", "0.33", "--device", "cpu"], "the plan is empty"),
        (["plan", "9.9"], "not among the candidates"),
        (["plan", "--github-output"], "GITHUB_OUTPUT is not set"),
        (["record", "nowhere"], "fragments nowhere: cannot be used"),
        (["gate", "--plan", "nowhere.json"], "--plan nowhere.json: cannot be used"),
        (["run", "0.28", "--lane", "cuda-sm80", "--out", "out"], "is lane cpu, not cuda-sm80"),
        (["run", "0.28", "--lane", "cpu-interpreted", "--out", "out"], "is lane cpu, not"),
        (["run", "0.28", "--lane", "cpu-turbo", "--out", "out"], "no lane of a CPU; there are cpu"),
        (
            ["run", "0.28", "--lane", "cpu", "--async", "--out", "out"],
            "default and --async is lane cpu-async, not cpu",
        ),
    ],
)
def test_a_wrong_order_is_one_clear_error(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says what is wrong, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)

    services = Services(device=lambda: "cpu")

    assert cli.main(arguments, services) not in (ExitCode.PASSED, ExitCode.FAILED)
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lane", "runner", "options", "device", "expected"),
    [
        (None, "default", {}, "cuda-sm80", "cuda-sm80"),
        ("cuda-sm80", "v2", {}, "cuda-sm80", "cuda-sm80"),
        ("cpu", "default", {}, "cuda-sm80", "cpu"),
        ("cpu-interpreted", "v2", {}, "cuda-sm80", "cpu-interpreted"),
        (None, "v2", {}, "cpu", "cpu-interpreted"),
        (None, "default", {"asynchronous": True}, "cpu", "cpu-async"),
        (None, "v2", {"asynchronous": True}, "cpu", "cpu-interpreted-async"),
        ("cpu-async", "default", {}, "cuda-sm80", "cpu-async"),
        ("cpu-async", "v1", {"asynchronous": True}, "cpu", "cpu-async"),
        ("cpu-interpreted-async", "v2", {}, "cpu", "cpu-interpreted-async"),
    ],
)
def test_a_machine_with_a_gpu_can_run_the_lanes_of_the_cpu(
    lane: str | None,
    runner: str,
    options: dict[str, bool],
    device: str,
    expected: str,
    tmp_path: Path,
) -> None:
    """And no machine runs a lane that it is not of."""
    request = RunRequest("0.28", "auto", tmp_path, runner, lane, **options)  # type: ignore[arg-type]

    assert lane_of(request, Services(device=lambda: device)) == expected


def test_a_gpu_is_not_made_to_do_what_it_does(tmp_path: Path) -> None:
    """There asynchronous scheduling is vLLM's default, and no lane of its own."""
    request = RunRequest("0.28", "auto", tmp_path, asynchronous=True)

    with pytest.raises(UsageError, match=r"cuda-sm80.*choose a CPU with --lane cpu-async"):
        lane_of(request, Services(device=lambda: "cuda-sm80"))


def test_locks_are_made_for_releases_with_such_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A series is its newest release; one without a build for the device is named and left out."""
    monkeypatch.setattr(locks, "FOLDER", ROOT / "out" / tmp_path.name)
    monkeypatch.setattr(resolver, "resolve", lambda recipe, *_: (recipe.pins[0],))

    assert cli.main(["lock", "0.28", "0.33", "--out", str(tmp_path)]) == ExitCode.PASSED

    told = capsys.readouterr().out
    (path,) = locks.FOLDER.iterdir()
    assert path.read_text("utf-8").endswith("\nvllm-cpu==0.28.0\n")
    assert "vLLM 0.33.0 has no cpu build" in told
    shutil.rmtree(locks.FOLDER)


def test_recording_merges_and_tells_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is that of missing evidence, and what came is kept."""
    registry, plan_file = tmp_path / "registry.json", tmp_path / "plan.json"
    registry.write_text(store.render([]), encoding="utf-8")
    cells = [matrix.cell(version, "cpu", "default") for version in ("0.28.0", "0.29.0")]
    plan_file.write_text(matrix.dumps(cells), encoding="utf-8")
    fragments.write(tmp_path / "jobs" / "fragment.json", evidence("0.28.0"))
    arguments = ["--registry", str(registry), "record", str(tmp_path / "jobs")]

    assert cli.main([*arguments, "--plan", str(plan_file)]) == ExitCode.NO_EVIDENCE
    assert "nothing came back from 0.29.0-cpu-default (abstain)" in capsys.readouterr().err
    assert len(store.load(registry)) == 4
    assert cli.main(arguments) == ExitCode.PASSED


def test_the_sessions_are_those_of_the_candidates() -> None:
    """One per series, by the name that the documentation uses."""
    done = subprocess.run(
        [sys.executable, "-m", "nox", "--json", "-l", "-t", "compat"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    listed = {entry["session"] for entry in json.loads(done.stdout)}
    assert listed == {f"compat-{series}" for series in list_series(load_candidates())}
