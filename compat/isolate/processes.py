"""Runs a command with a time limit and leaves nothing of it behind."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING

from compat.errors import InfraError
from compat.isolate import supervisor
from compat.isolate.protocol import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def run(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: IO[bytes], timeout: float
) -> Completed:
    """Run a command; all it started is killed when it ends, times out or is interrupted.

    Args:
        argv: The command.
        cwd: Its working directory.
        env: All of its variables.
        log: Open file that receives its output and errors.
        timeout: Seconds until it is killed.

    Raises:
        InfraError: No process can be started.
    """
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", supervisor.__file__, *argv],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        msg = f"{argv[0]} cannot be started: {error}"
        raise InfraError(msg) from error
    timed_out = False
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        process.terminate()
        status = process.wait()
    return Completed(status, time.monotonic() - start, timed_out)
