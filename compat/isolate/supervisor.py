"""Runs a command and outlives everything it starts: ``python supervisor.py COMMAND ...``.

A process group is not enough: servers of the suite and of vLLM start sessions of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(argv: list[str]) -> int:
    """Run the command; its exit status, or 128 + n after signal n."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        status = subprocess.call(argv)
    finally:
        _end_children()
    return status if status >= 0 else 128 - status


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl({option})")


def _end_children() -> None:
    """Kill children until none is left; orphans of a killed child become children here."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children() -> Iterator[int]:
    """Children that are not reaped yet, which is why their ids are safe to use."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # Other processes come and go while this looks at them.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # pid (name) state ppid ...; the name may contain spaces and parentheses.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                yield int(stat.parent.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
