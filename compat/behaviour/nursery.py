"""Starts engine processes: forked from one that has imported vLLM, which takes longer than a boot.

The standard library's fork server does the work; it is never initialised for a device, because
importing vLLM is not.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from socket import socket

_FORKS = multiprocessing.get_context("forkserver")
_PRELOADED = "compat.behaviour.preload"


class EngineProcess(Protocol):
    """What a test does with an engine's process."""

    def end(self, patience: float) -> None:
        """Wait for its end that many seconds, then kill it."""
        ...


def start(
    channel: socket, log: Path, env: Mapping[str, str], own: Mapping[str, str]
) -> EngineProcess:
    """Start a process that serves an engine over its end of a socket pair.

    Args:
        channel: The process's end.
        log: Receives its output.
        env: Variables that all engines have.
        own: Variables of this engine alone. vLLM reads some when it is imported, so an engine
            with variables of its own imports it anew.
    """
    if own:
        return _Spawned(channel, log, {**env, **own})
    return _Forked(channel, log, env)


class _Spawned:
    def __init__(self, channel: socket, log: Path, env: Mapping[str, str]) -> None:
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "compat.behaviour.drive", str(channel.fileno())],
                pass_fds=[channel.fileno()],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
            )

    def end(self, patience: float) -> None:
        try:
            self._process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Forked:
    def __init__(self, channel: socket, log: Path, env: Mapping[str, str]) -> None:
        _FORKS.set_forkserver_preload([_PRELOADED])
        self._process = _FORKS.Process(target=_serve, args=(channel, str(log)))
        # The fork server starts with the first process, and what it imports reads them.
        with mock.patch.dict(os.environ, env):
            self._process.start()

    def end(self, patience: float) -> None:
        self._process.join(patience)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()


def _serve(channel: socket, log: str) -> None:
    """What a forked process does: its output goes to the log, its life to the engine."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(out, sys.stdout.fileno())
    os.dup2(out, sys.stderr.fileno())
    os.close(out)
    from compat.behaviour import drive

    drive.serve(channel)
