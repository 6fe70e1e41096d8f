"""Many cells on one machine: their order, how many at a time, what is left, how they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from compat import cli
from compat.cell.services import Services
from compat.cli import build_parser
from compat.commands.run import run_cell
from compat.errors import ExitCode
from compat.registry import store
from compat.release import sweep
from compat.releases import matrix, policy
from compat.releases.candidates import load_candidates
from compat.releases.policy import CellKind
from tests.compat.samples import CELL, FAILED, PASSED, VOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compat.releases.matrix import PlannedCell
    from value_steer.registry.rows import Row

KINDS = policy.load().cells
CPU = matrix.planned(load_candidates(), sweep.kinds("cpu", KINDS))
EMPTY = '{\n  "rows": [],\n  "schema_version": 1\n}\n'


def cells(*names: str, lane: str = "cpu", runner: str = "default") -> list[PlannedCell]:
    """Cells of one lane."""
    return [matrix.cell(name, lane, runner) for name in names]


def row(cell: PlannedCell, like: Row = PASSED, **changes: object) -> Row:
    """A row of a cell."""
    runner = "v1" if cell.runner == "default" else cell.runner
    own = replace(CELL, vllm=cell.vllm, lane=cell.lane, runner=runner)
    return replace(like, cell=own, **changes)  # type: ignore[arg-type]


def test_a_machine_without_a_gpu_runs_every_lane_of_a_cpu() -> None:
    """The policy says which, and from which release on."""
    kinds = [(kind.lane, kind.runner) for kind in sweep.kinds("cpu", KINDS)]

    assert kinds == [("cpu", "default"), ("cpu-interpreted", "v2")]
    lanes = {(cell.vllm, cell.lane) for cell in CPU}
    assert ("0.22.1", "cpu") in lanes
    assert ("0.22.1", "cpu-interpreted") not in lanes
    assert ("0.28.0", "cpu-interpreted") in lanes


def test_a_gpu_runs_its_own_lane() -> None:
    """What the policy says of another GPU holds for this one too, once."""
    policies = [*KINDS, CellKind("cuda-sm90", "default", "0.19.0")]

    assert sweep.kinds("cuda-sm90", policies) == (CellKind("cuda-sm90", "default", "0.19.0"),)


@pytest.mark.parametrize(
    ("cores", "lane", "jobs"),
    [(1, "cpu", 1), (2, "cpu", 1), (5, "cpu", 2), (64, "cpu", 4), (64, "cuda-sm80", 1)],
)
def test_cores_are_kept_busy(
    cores: int, lane: str, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell for two cores, which it keeps busy, as far as memory goes; a GPU is not shared."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    assert sweep.at_a_time(lane) == jobs


def test_what_tells_most_comes_first() -> None:
    """The newest and the oldest of each lane, what did not pass last, then by age."""
    names = ["0.19.0", "0.20.0", "0.21.0", "0.22.0", "0.23.0"]
    compiled = cells(*names)
    interpreted = cells("0.22.0", "0.23.0", lane="cpu-interpreted", runner="v2")
    rows = [
        row(compiled[1], FAILED),
        row(compiled[1], recorded_at="2019-01-01T00:00:00Z"),
        row(compiled[2], FAILED),
        row(compiled[2], recorded_at="2021-01-01T00:00:00Z"),
        row(compiled[3], VOID, recorded_at="2021-01-01T00:00:00Z"),
        row(compiled[3]),
    ]

    order = sweep.ordered([*compiled, *interpreted], rows)

    assert [(cell.vllm, cell.lane) for cell in order] == [
        ("0.23.0", "cpu"),
        ("0.23.0", "cpu-interpreted"),
        ("0.22.0", "cpu-interpreted"),
        ("0.19.0", "cpu"),
        ("0.22.0", "cpu"),
        ("0.20.0", "cpu"),
        ("0.21.0", "cpu"),
    ]


def test_every_cell_is_in_the_order_once() -> None:
    """Whatever is known of them."""
    order = sweep.ordered(CPU, [row(CPU[3], FAILED)])

    assert sorted(cell.name for cell in order) == sorted(cell.name for cell in CPU)
    assert order[0].vllm == order[1].vllm == "0.32.0"


def test_what_is_left_follows_from_what_cells_took() -> None:
    """A cell's own last pass, else the middle of its lane; shared among those that run at once."""
    one, two, three = cells("0.19.0", "0.20.0", "0.21.0")
    durations = sweep.Durations(
        [
            row(one, seconds=900.0, recorded_at="2019-01-01T00:00:00Z"),
            row(one, seconds=100.0),
            row(one, FAILED, seconds=1.0, recorded_at="2021-01-01T00:00:00Z"),
            row(two, seconds=300.0),
        ]
    )

    assert [durations.seconds(cell) for cell in (one, two, three)] == [100.0, 300.0, 300.0]
    assert durations.left([one, two], {}, 1) == 400
    assert durations.left([one], {two: 50.0}, 2) == 250
    assert durations.left([one, three], {two: 100.0}, 2) == 300
    assert durations.left([], {two: 1000.0}, 2) == 0
    other = cells("0.28.0", lane="cpu-interpreted", runner="v2")
    assert durations.left(other, {}, 1) is None


@dataclass
class FakeJob:
    """Ends with a status after it was asked some times."""

    status: int
    polls: int = 1
    told: list[str] = field(default_factory=list)

    def poll(self) -> int | None:
        """One step nearer to the end."""
        self.polls -= 1
        return self.status if self.polls < 0 or "wait" in self.told else None

    def terminate(self) -> None:
        """Remember it."""
        self.told.append("terminate")

    def wait(self, timeout: float | None = None) -> int:
        """A job that is told to end ends unless it hangs."""
        if timeout is not None and self.status == HANGS and "kill" not in self.told:
            raise subprocess.TimeoutExpired([], timeout)
        self.told.append("wait")
        return self.status

    def kill(self) -> None:
        """Remember it."""
        self.told.append("kill")


HANGS = 99


@dataclass
class FakeStart:
    """Starts fakes, and sees which run at once."""

    statuses: dict[str, int] = field(default_factory=dict)
    polls: int = 1
    jobs: dict[PlannedCell, FakeJob] = field(default_factory=dict)
    last: dict[str, bool] = field(default_factory=dict)
    at_once: list[set[str]] = field(default_factory=list)

    def __call__(self, cell: PlannedCell, is_last: bool) -> FakeJob:  # noqa: FBT001
        """A new fake."""
        self.jobs[cell] = FakeJob(self.statuses.get(cell.name, 0), self.polls)
        self.last[cell.name] = is_last
        running = {c for c, job in self.jobs.items() if "wait" not in job.told}
        self.at_once.append({c.name for c in running})
        return self.jobs[cell]


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
    place.with_suffix(".started").write_text(" ".join(sys.argv[1:]))
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
        given = build_parser(Services()).parse_args(processes.arguments(cell, is_last=is_last))
        assert (given.command, given.version) == (run_cell, "0.28.0")
        assert (given.lane, given.runner, given.isolation) == ("cpu-interpreted", "v2", "venv")
        assert (given.registry, given.force) == (tmp_path / "r.json", True)
        assert given.discard is is_last


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
    """Or a runner is."""
    assert invoke(tmp_path, "0.32", "--jobs", "2") == ExitCode.PASSED
    assert [cell.lane for cell in command] == ["cpu", "cpu-interpreted"]
    assert "nothing was timed on this lane" in capsys.readouterr().out

    for options in (("--lane", "cpu-interpreted"), ("--runner", "v2")):
        command.clear()
        invoke(tmp_path, "0.32", *options, "--jobs", "2")
        assert [(cell.lane, cell.runner) for cell in command] == [("cpu-interpreted", "v2")]


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
