"""Many cells on one machine: in which order, how many at a time, and how long it will take."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from packaging.version import Version

from compat import lanes
from compat.checkout import ROOT
from compat.errors import ExitCode
from value_steer.registry.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from compat.releases.matrix import PlannedCell
    from compat.releases.policy import CellKind
    from value_steer.registry.rows import Row

GRACE_SECONDS = 120.0
"""How long a cell that is told to end may take for removing what it started."""

_MOST_AT_A_TIME = 4
_POLL_SECONDS = 0.5


class Job(Protocol):
    """A cell that was started, as :class:`subprocess.Popen` has it."""

    def poll(self) -> int | None:
        """Its exit status, once it has ended."""

    def terminate(self) -> None:
        """Tell it to end."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, when it has ended."""

    def kill(self) -> None:
        """End it whatever it does."""


Start: TypeAlias = "Callable[[PlannedCell, bool], Job]"
"""Starts a cell; the flag says that no other cell needs its environment afterwards."""


def kinds(machine: str, policy: Sequence[CellKind]) -> tuple[CellKind, ...]:
    """The kinds of cells of the policy that a machine of a lane can run.

    A GPU runs what the policy says of GPUs, on its own lane.
    """
    family = lanes.family(machine)
    own = [kind for kind in policy if lanes.family(kind.lane) == family]
    if family != lanes.CPU:
        own = [replace(kind, lane=machine) for kind in own]
    return tuple({(kind.lane, kind.runner): kind for kind in own}.values())


def at_a_time(machine: str) -> int:
    """How many cells run at once if nobody says how many: one for two cores, four at most.

    A cell runs its suite and its control side by side, which keeps two cores busy. Each takes some
    GiB of memory, hence the limit. A GPU is not shared.
    """
    if lanes.family(machine) != lanes.CPU:
        return 1
    return max(1, min((os.cpu_count() or 1) // 2, _MOST_AT_A_TIME))


def ordered(cells: Iterable[PlannedCell], rows: Sequence[Row]) -> tuple[PlannedCell, ...]:
    """Cells in the order in which they tell most, earliest.

    Of each lane the newest release, then the oldest, then what did not pass when it was run last,
    then the others from the newest on.
    """
    by_age = sorted(cells, key=_version, reverse=True)
    versions = {cell.lane: [_version(c) for c in by_age if c.lane == cell.lane] for cell in by_age}

    def urgency(cell: PlannedCell) -> int:
        of_lane = versions[cell.lane]
        first = (_version(cell) == of_lane[0], _version(cell) == of_lane[-1])
        return (*first, not _passed_last(cell, rows), True).index(True)

    return tuple(sorted(by_age, key=urgency))


def _passed_last(cell: PlannedCell, rows: Sequence[Row]) -> bool:
    """Whether no mode of a cell ended otherwise when it was run last, if ever."""
    newest: dict[str, Row] = {}
    for row in sorted(filter(cell.covers, rows), key=lambda row: row.recorded_at):
        newest[row.cell.mode] = row
    return all(row.verdict is Verdict.PASSED for row in newest.values())


def _version(cell: PlannedCell) -> Version:
    return Version(cell.vllm)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long cells take, by what they took."""

    rows: Sequence[Row]

    def seconds(self, cell: PlannedCell) -> float | None:
        """The duration of a cell when it passed last, or the median of others of its lane."""
        passed = [r for r in self.rows if r.cell.lane == cell.lane and r.verdict is Verdict.PASSED]
        own = [row for row in passed if cell.covers(row)]
        if own:
            return max(own, key=lambda row: row.recorded_at).seconds
        return statistics.median(row.seconds for row in passed) if passed else None

    def left(
        self, waiting: Iterable[PlannedCell], running: Mapping[PlannedCell, float], jobs: int
    ) -> float | None:
        """Seconds until all have ended, if each is run; ``None`` if a lane was never timed.

        Args:
            waiting: The cells that are still to be started.
            running: How many seconds ago the others were.
            jobs: How many run at a time.
        """
        needed = {cell: self.seconds(cell) for cell in (*waiting, *running)}
        rest = [s - running.get(c, 0) for c, s in needed.items() if s is not None]
        if len(rest) < len(needed):
            return None
        rest = [max(seconds, 0) for seconds in rest]
        return max(sum(rest) / jobs, *rest, 0)


@dataclass(frozen=True, slots=True)
class State:
    """Where a sweep stands when a cell has ended.

    Attributes:
        ended: The cell.
        status: Its exit status, negative for a signal.
        waiting: The cells that are still to be started.
        running: How many seconds ago the others were started.
    """

    ended: PlannedCell
    status: int
    waiting: tuple[PlannedCell, ...]
    running: Mapping[PlannedCell, float]


def run(
    cells: Iterable[PlannedCell], jobs: int, start: Start, tell: Callable[[State], None]
) -> tuple[ExitCode, ...]:
    """Run cells, some at a time; how one ends does not end the others.

    No two cells of a release run at once, since they share its environment. Whatever ends this
    early, Ctrl-C for one, ends the cells that run, and waits until they have removed what they
    started.

    Returns:
        How each ended, in the order in which they did.
    """
    waiting, codes = list(cells), []
    running: dict[PlannedCell, tuple[Job, float]] = {}
    try:
        while waiting or running:
            while len(running) < jobs and (cell := _next(waiting, running)) is not None:
                waiting.remove(cell)
                is_last = cell.vllm not in {other.vllm for other in waiting}
                running[cell] = (start(cell, is_last), time.monotonic())
            for cell in [cell for cell, (job, _) in running.items() if job.poll() is not None]:
                status = running.pop(cell)[0].wait()
                codes.append(_code(status))
                now = time.monotonic()
                since = {other: now - began for other, (_, began) in running.items()}
                tell(State(cell, status, tuple(waiting), since))
            time.sleep(_POLL_SECONDS)
    finally:
        _end([job for job, _ in running.values()])
    return tuple(codes)


def _next(waiting: Sequence[PlannedCell], running: Iterable[PlannedCell]) -> PlannedCell | None:
    busy = {cell.vllm for cell in running}
    return next((cell for cell in waiting if cell.vllm not in busy), None)


def _code(status: int) -> ExitCode:
    """A cell that was killed, or ended from outside, failed for a reason of this machine."""
    known = status in set(ExitCode) and status != ExitCode.INTERRUPTED
    return ExitCode(status) if known else ExitCode.INFRA


def _end(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.terminate()
    try:
        for job in jobs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.wait(GRACE_SECONDS)
    finally:  # what hangs by now, or all of it if Ctrl-C came again
        for job in jobs:
            if job.poll() is None:
                job.kill()
                job.wait()


@dataclass(frozen=True, slots=True)
class Processes:
    """Starts cells in processes of their own, by the command for one cell.

    Attributes:
        options: Of the command: the isolation, the folder, whether to force a run.
        registry: Where each records what it found; the writer takes turns.
        logs: Folder for what they say; ``None`` if it belongs on the terminal.
        discard: Whether environments are removed once no cell needs them.
        command: What is called.
    """

    options: tuple[str, ...]
    registry: Path
    logs: Path | None
    discard: bool
    command: tuple[str, ...] = (sys.executable, "-m", "compat")

    def __call__(self, cell: PlannedCell, is_last: bool) -> Job:  # noqa: FBT001  (as Start says)
        """Start a cell."""
        command = [*self.command, *self.arguments(cell, is_last=is_last)]
        if self.logs is None:
            return _Session(command, cwd=ROOT, start_new_session=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log(cell).open("wb") as log:
            return _Session(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def arguments(self, cell: PlannedCell, *, is_last: bool) -> tuple[str, ...]:
        """The arguments of the command of a cell."""
        place = ("--lane", cell.lane, "--runner", cell.runner)
        discard = ("--discard",) if self.discard and is_last else ()
        registry = ("--registry", str(self.registry))
        return (*registry, "run", cell.vllm, *place, *self.options, *discard)

    def log(self, cell: PlannedCell) -> Path:
        """The log of a cell, if it has one."""
        assert self.logs is not None  # noqa: S101  (asked for where there are logs)
        return self.logs / f"{cell.name}.log"


class _Session(subprocess.Popen[bytes]):
    """A process in a session of its own, so that Ctrl-C reaches the sweep alone."""

    def kill(self) -> None:
        """End it with all that it started."""
        with contextlib.suppress(ProcessLookupError):  # it has ended in this moment
            os.killpg(self.pid, signal.SIGKILL)
