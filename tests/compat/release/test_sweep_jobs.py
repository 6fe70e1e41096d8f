"""Many cells at a time: whose turn it is, how one ends, and how all of them are ended."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from compat.cli import build_parser
from compat.commands.run import run_cell
from compat.errors import ExitCode
from compat.release import sweep
from tests.compat.release.pretended import HANGS, FakeJob, FakeStart, cells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compat.releases.matrix import PlannedCell


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_POLL_SECONDS", 0.0)


def run(todo: Sequence[PlannedCell], start: FakeStart, jobs: int = 2) -> tuple[ExitCode, ...]:
    """A sweep that tells nobody."""
    return sweep.run(todo, jobs, start, lambda _: None)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_as_many_run_at_once_as_may(jobs: int) -> None:
    """Never more, and no fewer while there are cells to start."""
    start = FakeStart(polls=3)

    codes = run(cells("0.19.0", "0.20.0", "0.21.0", "0.22.0"), start, jobs)

    assert codes == (ExitCode.PASSED,) * 4
    assert max(map(len, start.at_once)) == jobs
    assert len(start.jobs) == 4


def test_cells_of_a_release_take_turns_and_the_last_one_cleans_up() -> None:
    """They share an environment, which must not be removed under another."""
    both = [*cells("0.28.0"), *cells("0.28.0", lane="cpu-interpreted", runner="v2")]
    start = FakeStart()

    run([*both, *cells("0.27.0")], start)

    assert not any({both[0].name, both[1].name} <= names for names in start.at_once)
    assert list(start.jobs)[:2] == [both[0], *cells("0.27.0")]
    assert start.last == {both[0].name: False, both[1].name: True, "0.27.0-cpu-default": True}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (3, ExitCode.INFRA),
        (1, ExitCode.FAILED),
        (-9, ExitCode.INFRA),
        (130, ExitCode.INFRA),
        (77, ExitCode.INFRA),
    ],
)
def test_how_one_cell_ends_does_not_end_the_others(status: int, code: ExitCode) -> None:
    """Whether a network failed, a test, or the cell was killed."""
    start = FakeStart({"0.19.0-cpu-default": status})

    codes = run(cells("0.19.0", "0.20.0", "0.21.0"), start)

    assert sorted(codes) == sorted([code, ExitCode.PASSED, ExitCode.PASSED])


def test_each_end_is_told_with_what_is_left() -> None:
    """The cell, its status, what waits and what runs."""
    told: list[sweep.State] = []
    todo = cells("0.19.0", "0.20.0", "0.21.0")

    sweep.run(todo, 2, FakeStart({todo[1].name: 1}), told.append)

    assert [(s.ended.vllm, s.status) for s in told] == [("0.19.0", 0), ("0.20.0", 1), ("0.21.0", 0)]
    assert (told[0].waiting, set(told[0].running)) == ((todo[2],), {todo[1]})
    assert (told[2].waiting, dict(told[2].running)) == ((), {})


def test_an_interrupt_ends_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told, then waited for; one that does not end is ended with all that it started."""
    start = FakeStart({"0.20.0-cpu-default": HANGS}, polls=1000)

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(cells("0.19.0", "0.20.0", "0.21.0"), start)

    assert [job.told for job in start.jobs.values()] == [
        ["terminate", "wait"],
        ["terminate", "kill", "wait"],
    ]


def test_a_second_interrupt_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not ended by then is ended with all that it started."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    start = FakeStart(polls=1000)
    monkeypatch.setattr(time, "sleep", interrupted)
    monkeypatch.setattr(
        FakeJob,
        "wait",
        lambda job, timeout=None: interrupted() if timeout else job.told.append("wait"),
    )
    with pytest.raises(KeyboardInterrupt):
        run(cells("0.19.0", "0.20.0"), start)

    assert [job.told for job in start.jobs.values()] == [["terminate", "kill", "wait"]] * 2


_CELL = """
import signal, sys, time
from pathlib import Path

signal.signal(signal.SIGTERM, signal.default_int_handler)
place = Path(sys.argv[sys.argv.index("--out") + 1]) / f"{sys.argv[4]}"
try:
    print("says something", flush=True)
    place.with_suffix(".new").write_text(" ".join(sys.argv[1:]))
    place.with_suffix(".new").rename(place.with_suffix(".started"))  # whole when it is seen
    time.sleep(60)
except KeyboardInterrupt:
    place.with_suffix(".ended").touch()
    sys.exit(130)
"""


def test_real_processes_clean_up_when_the_sweep_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two run at once, each with a log of its own; both have ended when the sweep has."""
    processes = sweep.Processes(
        options=("--isolation", "venv", "--out", str(tmp_path)),
        registry=tmp_path / "registry.json",
        logs=tmp_path / "logs",
        discard=True,
        command=(sys.executable, "-c", _CELL),
    )
    pause, interrupts = time.sleep, iter([KeyboardInterrupt])

    def interrupt_once_both_run(seconds: float) -> None:
        pause(seconds)
        if len(list(tmp_path.glob("*.started"))) == 2:
            for interrupt in interrupts:
                raise interrupt

    monkeypatch.setattr(time, "sleep", interrupt_once_both_run)
    todo = cells("0.19.0", "0.20.0", "0.21.0")
    with pytest.raises(KeyboardInterrupt):
        sweep.run(todo, 2, processes, lambda _: None)

    assert len(list(tmp_path.glob("*.ended"))) == 2
    assert processes.log(todo[0]).read_text(encoding="utf-8") == "says something\n"
    given = (tmp_path / "0.19.started").read_text(encoding="utf-8")
    assert given == (
        f"--registry {tmp_path / 'registry.json'} run 0.19.0 --lane cpu --runner default "
        f"--isolation venv --out {tmp_path} --discard"
    )


def test_the_command_for_one_cell_understands_what_it_is_called_with(tmp_path: Path) -> None:
    """Every option is one of `python -m compat run`."""
    processes = sweep.Processes(
        ("--isolation", "venv", "--out", "o", "--force"), tmp_path / "r.json", None, discard=True
    )
    (cell,) = cells("0.28.0", lane="cpu-interpreted", runner="v2")

    for is_last in (True, False):
        given = build_parser().parse_args(processes.arguments(cell, is_last=is_last))
        assert (given.command, given.version) == (run_cell, "0.28.0")
        assert (given.lane, given.runner, given.isolation) == ("cpu-interpreted", "v2", "venv")
        assert (given.registry, given.force) == (tmp_path / "r.json", True)
        assert given.discard is is_last
