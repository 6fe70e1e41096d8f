"""Comparisons in a process of their own, which is killed when one takes too long.

The process is a fresh interpreter that is told what to import. Python's own pools would run the
caller's script again in it, and a script without a main guard with all that it does.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from value_steer.labels.equality import serve; serve()"
)
_START_SECONDS = 300.0
"""For the imports, on a busy machine."""


class NotComparedError(Exception):
    """A comparison failed, or did not end in time."""


class Comparer:
    """Compares answers one after the other.

    Args:
        seconds: For one comparison.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Comparer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def equal(self, reference: str, answer: str) -> bool | None:
        """Whether two answers are equal; ``None``: one of them is no mathematics.

        Raises:
            NotComparedError: It failed, or did not end in time.
        """
        if self._process is None:
            self._process = self._started()
        process = self._process
        assert process.stdin is not None  # noqa: S101  (it is a pipe)
        try:
            process.stdin.write(json.dumps([reference, answer]).encode() + b"\n")
            process.stdin.flush()
            said = self._read(process, self._seconds)
        except (OSError, NotComparedError) as error:
            self._end()
            raise NotComparedError(str(error)) from error
        if isinstance(said, str):
            raise NotComparedError(said)
        return None if said is None else bool(said)

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process = process
        self._read(process, _START_SECONDS)
        return process

    def _read(self, process: subprocess.Popen[bytes], seconds: float) -> object:
        assert process.stdout is not None  # noqa: S101  (it is a pipe)
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        if not ready:
            msg = f"not done after {seconds:g} s"
            raise NotComparedError(msg)
        line = process.stdout.readline()
        if not line:
            msg = f"its process ended with code {process.wait()}"
            raise NotComparedError(msg)
        return json.loads(line)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
