"""Starts engine processes: forked from one that has imported vLLM, which takes longer than a boot.

The standard library's fork server does the work; it is never initialised for a device, because
importing vLLM is not. Processes that an engine spawns for its scheduler and its workers come from
the same server: each is as new as a spawned one, but for what has been imported.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from multiprocessing import context, forkserver
from typing import TYPE_CHECKING, Any, Protocol
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from socket import socket

_FORKS = multiprocessing.get_context("forkserver")
_PRELOADED = "compat.behaviour.preload"
_LOG = "VALUE_STEER_SUITE_LOG"
"""The variable that tells the processes an engine spawns where its log is."""


def start_fork_server(env: Mapping[str, str]) -> None:
    """Start what processes are forked from; without waiting until it has imported vLLM.

    Args:
        env: Variables that what it imports reads, and that all its processes have.
    """
    _FORKS.set_forkserver_preload([_PRELOADED])
    with mock.patch.dict(os.environ, env):
        forkserver.ensure_running()


class EngineProcess(Protocol):
    """The interface of an engine's process to a test."""

    def end(self, patience: float) -> None:
        """Wait for its end that many seconds, then kill it, and whatever it has left behind."""
        ...


def execute(channel: socket, log: Path, env: Mapping[str, str]) -> EngineProcess:
    """Start a process that serves an engine from a new interpreter.

    Args:
        channel: The process's end of a socket pair.
        log: Receives its output.
        env: Variables that are read where vLLM is imported, and others.
    """
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


class ForkedProcess:
    """A process of the fork server, and those it starts: a process group.

    Args:
        log: Receives their output.
        env: Variables of the fork server, if it does not run yet.
        own: Further ones of this process, set before anything of vLLM is called.
        target: What it runs.
        args: Arguments of ``target``.
    """

    def __init__(
        self,
        log: Path,
        env: Mapping[str, str],
        own: Mapping[str, str],
        target: Callable[..., None],
        *args: object,
    ) -> None:
        start_fork_server(env)  # does nothing if there is one
        self._process = _FORKS.Process(target=_run, args=({**own, _LOG: str(log)}, target, args))
        self._process.start()

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def interrupt(self) -> None:
        """Send it SIGINT."""
        if self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGINT)

    def end(self, patience: float) -> None:
        """Wait for its end that many seconds, then kill it, and whatever it has left behind."""
        self._process.join(patience)
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):  # nothing is left of the group
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()


def _run(own: Mapping[str, str], target: Callable[..., None], args: tuple[object, ...]) -> None:
    os.setpgid(0, 0)
    os.environ.update(own)
    _write_to_log(os.O_TRUNC)
    fork_what_is_spawned()
    target(*args)


def serve_engine(channel: socket) -> None:
    """Serve an engine over a socket; to be run by a :class:`ForkedProcess`."""
    from compat.behaviour import engine_main

    engine_main.serve(channel)


def run_command(module: str, arguments: list[str]) -> None:
    """Do as ``python -m module arguments`` does; to be run by a :class:`ForkedProcess`."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


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


class _Inheritance:
    """A spawned process's inheritance; it takes possession when this is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _inherit, (dict(os.environ), os.getpgrp())


def _inherit(environment: dict[str, str], group: int) -> None:
    os.setpgid(0, group)
    os.environ.clear()
    os.environ.update(environment)
    _write_to_log(0)
    fork_what_is_spawned()


class _SpawnedProcess(context.ForkServerProcess):
    """Has the environment of its parent, as a spawned process does, not that of the fork server."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (_Inheritance(), type(self), self.__dict__)


def _revive(_: None, kind: type[_SpawnedProcess], attributes: dict[str, Any]) -> _SpawnedProcess:
    process = kind.__new__(kind)
    process.__dict__.update(attributes)
    return process


class _SpawnContext(context.ForkServerContext):
    _name = "spawn"
    Process = _SpawnedProcess
