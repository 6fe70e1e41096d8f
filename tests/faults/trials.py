"""One fault at a point that a seed chooses, in a process of its own, and what came of it.

A point is the n-th line of the product's own code, of its atomic writer alone, or the n-th call
that touches a file: the job is run once to count them. So a trial is repeated from its seed, which
a delay in milliseconds is not.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import random
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from tests.faults.jobs import OURS, Job, fresh, leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

Point = Literal["line", "file", "writer"]
Fault = Literal["SIGKILL", "SIGTERM", "full disk"]

ROOT = Path(__file__).parents[2]
_OWN = (f"{ROOT}/value_steer/", f"{ROOT}/compat/")
# A few lines among thousands, between which a file could be torn.
_WRITERS = (f"{ROOT}/value_steer/records/files.py", f"{ROOT}/value_steer/value_probe/tie.py")
_FILE_EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "os.rmdir"})
_POINTS = get_args(Point)
_SECONDS = 120
_LARGEST = 1 << 16


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: As ``waitpid`` gives it.
        told: What the job said was done.
        output: What it printed.
        points: How many points of each kind it passed.
    """

    status: int
    told: set[str]
    output: str
    points: dict[Point, int]


@dataclass(frozen=True)
class Trial:
    """A fault and its outcome.

    Attributes:
        seed: Repeats it.
        fault: What happened to the job.
        ended: Whether it was stopped by it: ``False`` if it coped, or had ended before.
        leftovers: Temporary files that are left.
    """

    seed: int
    fault: Fault
    ended: bool
    leftovers: int


class Harness:
    """Runs a job under faults; knows how long its undisturbed run is and what that makes."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job = job
        self.folder = folder
        # Once in this process, whose modules those that are forked from it have from then on.
        with contextlib.redirect_stdout(io.StringIO()):
            job.work(fresh(job, folder), lambda _: None)
        good = _forked(job, fresh(job, folder), None, 0, 0, None)
        assert good.status == 0, good.output
        self.points = good.points
        job.check(folder, good.told)
        self.wanted = job.result(folder)

    def trial(self, seed: int, fault: Fault) -> Trial:
        """One fault; raises ``AssertionError`` if a promise does not hold."""
        chance = random.Random(f"{self.job.name} {fault} {seed}")  # noqa: S311
        if fault == "full disk":
            most = chance.randrange(_LARGEST if chance.random() < 0.5 else 2048)
            return self._tried(seed, fault, None, 0, most)
        kind: Point = chance.choice(_POINTS)
        return self._tried(seed, fault, kind, chance.randrange(self.points[kind]), None)

    def every_point(self) -> Iterator[Trial]:
        """A kill at each point of the writer and at each call that touches a file."""
        for kind in ("writer", "file"):
            for at in range(self.points[kind]):
                yield self._tried(at, "SIGKILL", kind, at, None)

    def _tried(
        self, seed: int, fault: Fault, kind: Point | None, at: int, most: int | None
    ) -> Trial:
        fresh(self.job, self.folder)
        number = 0 if kind is None else getattr(signal, fault)
        ended = _forked(self.job, self.folder, kind, at, number, most)
        self.job.check(self.folder, ended.told)
        if os.WIFEXITED(ended.status):
            self._was_told(ended)
        else:
            assert os.WTERMSIG(ended.status) in {signal.SIGKILL, signal.SIGTERM}, ended.output
        left = len(leftovers(self.folder))
        again = _forked(self.job, self.folder, None, 0, 0, None)
        assert again.status == 0, f"the next run does not recover: {again.output}"
        self.job.check(self.folder, again.told)
        assert self.job.result(self.folder) == self.wanted, "the next run made something else"
        return Trial(seed, fault, ended.status != 0, left)

    def _was_told(self, ended: Ended) -> None:
        """One clear message, and no trace of the program's own."""
        assert "Traceback" not in ended.output, ended.output
        assert ended.status == 0 or ended.output.strip(), "it failed without a word"


def _forked(
    job: Job, folder: Path, kind: Point | None, at: int, number: int, most: int | None
) -> Ended:
    """The job in a process of its own.

    Args:
        job: What to do.
        folder: Where.
        kind: Of the point at which it gets a signal, ``None`` for never.
        at: Number of the point.
        number: Of the signal.
        most: Bytes of the largest file that can be written, ``None`` for any.
    """
    reader, writer = os.pipe()
    output = folder.with_suffix(".output")
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.close(reader)
            stream = os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            code = _child(job, folder, _Points(kind, at, number), most, writer)
        finally:
            os._exit(code)
    os.close(writer)
    told = _read(reader)
    _, status = os.waitpid(pid, 0)
    words = told.splitlines()
    points = [line.split() for line in words if line.startswith("points ")]
    return Ended(
        status,
        {line.removeprefix("done ") for line in words if line.startswith("done ")},
        output.read_text(encoding="utf-8", errors="replace"),
        dict(zip(_POINTS, map(int, points[0][1:]), strict=True)) if points else {},
    )


def _read(reader: int) -> str:
    pieces = []
    with os.fdopen(reader, "rb") as stream:
        while piece := stream.read(1 << 16):
            pieces.append(piece)
    return b"".join(pieces).decode()


def _child(job: Job, folder: Path, points: _Points, most: int | None, writer: int) -> int:
    signal.alarm(_SECONDS)
    for number in (signal.SIGTERM, signal.SIGINT):  # as of a process that has just begun
        signal.signal(number, signal.SIG_DFL)
    faulthandler.disable()
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    if most is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    code = 0
    try:
        points.start()
        job.work(folder, lambda what: _say(writer, f"done {what}"))
    except OURS as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001  (a fault of the product; the trial shows it)
        traceback.print_exc()
        code = 98
    finally:
        points.stop()
    _say(writer, f"points {' '.join(str(points.seen[kind]) for kind in _POINTS)}")
    return code


def _say(writer: int, words: str) -> None:
    os.write(writer, f"{words}\n".encode())


class _Points:
    """Counts what the product does, and sends a signal at one point of it."""

    def __init__(self, kind: Point | None, at: int, number: int) -> None:
        self.seen: dict[Point, int] = dict.fromkeys(_POINTS, 0)
        self._kind, self._at, self._number = kind, at, number
        self._active = False

    def start(self) -> None:
        """From here on."""
        self._active = True
        sys.addaudithook(self._audit)
        sys.settrace(self._trace)

    def stop(self) -> None:
        """No more of it."""
        sys.settrace(None)
        self._active = False

    def _pass(self, kind: Point) -> None:
        if kind == self._kind and self.seen[kind] == self._at:
            self._kind = None
            os.kill(os.getpid(), self._number)
            time.sleep(0)  # where a signal that has a handler is handled
        self.seen[kind] += 1

    def _audit(self, event: str, _: tuple[Any, ...]) -> None:
        if self._active and event in _FILE_EVENTS:
            self._pass("file")

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(_OWN):
            return None
        if event == "line":
            self._pass("line")
            if frame.f_code.co_filename in _WRITERS:
                self._pass("writer")
        return self._trace
