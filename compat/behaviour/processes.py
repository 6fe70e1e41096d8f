"""Starts engine processes: forked from one that has imported vLLM, which takes longer than a boot.

The standard library's fork server does the work; it is never initialised for a device, because
importing vLLM is not. Processes that an engine spawns for its scheduler and its workers come from
the same server: each is as new as a spawned one, but for what has been imported.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from multiprocessing import context, forkserver
from typing import TYPE_CHECKING, Any, Protocol
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from socket import socket

_FORKS = multiprocessing.get_context("forkserver")
_PRELOADED = "compat.behaviour.preload"
_LOG = "VALUE_STEER_SUITE_LOG"
"""The variable that tells the processes an engine spawns where its log is."""


class EngineProcess(Protocol):
    """What a test does with an engine's process."""

    def end(self, patience: float) -> None:
        """Wait for its end that many seconds, then kill it."""
        ...


def fork(channel: socket, log: Path, env: Mapping[str, str], own: Mapping[str, str]) -> _Forked:
    """Fork a process that serves an engine over its end of a socket pair.

    Args:
        channel: The process's end.
        log: Receives its output, and that of the processes it starts.
        env: Variables that all engines have; what the fork server imports reads them.
        own: Variables of this engine alone, set before anything of vLLM is called.
    """
    return _Forked(channel, {**own, _LOG: str(log)}, env)


def execute(channel: socket, log: Path, env: Mapping[str, str]) -> _Executed:
    """Start the same from a new interpreter: for variables that are read where vLLM is imported."""
    return _Executed(channel, log, env)


class _Executed:
    def __init__(self, channel: socket, log: Path, env: Mapping[str, str]) -> None:
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "compat.behaviour.engine_main", str(channel.fileno())],
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
    def __init__(self, channel: socket, own: Mapping[str, str], env: Mapping[str, str]) -> None:
        _FORKS.set_forkserver_preload([_PRELOADED])
        self._process = _FORKS.Process(target=_serve, args=(channel, own))
        # The fork server starts with the first process.
        with mock.patch.dict(os.environ, env):
            self._process.start()

    def end(self, patience: float) -> None:
        self._process.join(patience)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()


def _serve(channel: socket, own: Mapping[str, str]) -> None:
    """What a forked process does: its output goes to the log, its life to the engine."""
    os.environ.update(own)
    _write_to_log(os.O_TRUNC)
    fork_what_is_spawned()
    from compat.behaviour import engine_main

    engine_main.serve(channel)


def _write_to_log(mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | mode
    out = os.open(os.environ[_LOG], flags, 0o644)
    os.dup2(out, sys.stdout.fileno())
    os.dup2(out, sys.stderr.fileno())
    os.close(out)


def fork_what_is_spawned() -> None:
    """Let processes that this one spawns come from the fork server that it came from itself."""
    # The library would start another server, because it is this process's parent that started it.
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]  # noqa: SLF001
    context._concrete_contexts["spawn"] = _SpawnContext()  # type: ignore[attr-defined]  # noqa: SLF001


class _State:
    """The environment at the time of starting, and the log; what is unpickled first."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _enter, (dict(os.environ),)


def _enter(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    _write_to_log(0)


class _SpawnedProcess(context.ForkServerProcess):
    """As a spawned process it has the environment of its parent, not that of the fork server."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (_State(), type(self), self.__dict__)


def _revive(_: None, kind: type[_SpawnedProcess], attributes: dict[str, Any]) -> _SpawnedProcess:
    process = kind.__new__(kind)
    process.__dict__.update(attributes)
    return process


class _SpawnContext(context.ForkServerContext):
    _name = "spawn"
    Process = _SpawnedProcess
