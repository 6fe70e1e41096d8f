"""Processes of the fork server, and what they spawn in turn."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from typing import TYPE_CHECKING

from compat.behaviour.processes import ForkedProcess, run_command

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event
    from pathlib import Path

_SAID = "SAID_BY_THE_PARENT"


def tell(generation: int) -> None:
    """Say what this process is, and spawn the next generation."""
    modules = "fork server" if "multiprocessing.forkserver" in sys.modules else "new interpreter"
    inherited = os.environ.get(_SAID)
    print(generation, os.getppid(), os.getpgrp(), inherited, modules, sep=",", flush=True)  # noqa: T201
    if generation < 3:
        os.environ[_SAID] = str(generation)
        process = multiprocessing.get_context("spawn").Process(target=tell, args=(generation + 1,))
        process.start()
        process.join()
        assert process.exitcode == 0


def test_what_a_forked_process_spawns_is_forked_too(tmp_path: Path) -> None:
    """All generations come from one server, with the environment of whoever spawned them."""
    log = tmp_path / "log"
    process = ForkedProcess(log, {}, {_SAID: "0"}, tell, 1)

    process.end(patience=60)

    rows = [line.split(",") for line in log.read_text(encoding="utf-8").splitlines()]
    generations, parents, groups, said, origins = zip(*rows, strict=True)
    assert generations == ("1", "2", "3")
    assert said == ("0", "1", "2")
    assert len(set(parents)) == len(set(groups)) == 1
    assert str(os.getpid()) not in parents
    assert set(origins) == {"fork server"}


def stay(started: Event) -> None:
    """Tell the parent, and outlive it."""
    started.set()
    time.sleep(600)


def linger() -> None:
    """Spawn a process that outlives this one."""
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    child = spawn.Process(target=stay, args=(started,))
    child.start()
    assert started.wait(60)
    print(child.pid, flush=True)  # noqa: T201
    os._exit(0)


def test_the_end_leaves_nothing_behind(tmp_path: Path) -> None:
    """What a process has spawned and not ended is killed with it."""
    log = tmp_path / "log"
    process = ForkedProcess(log, {}, {}, linger)

    process.end(patience=60)

    pid = int(log.read_text(encoding="utf-8"))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _lives(pid):
        time.sleep(0.05)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_command_runs_as_a_module_does(tmp_path: Path) -> None:
    """It sees its arguments, and writes to the log."""
    log = tmp_path / "log"
    (tmp_path / "file.json").write_text('{"a": 1}', encoding="utf-8")
    arguments = ["--compact", str(tmp_path / "file.json")]
    process = ForkedProcess(log, {}, {}, run_command, "json.tool", arguments)

    process.end(patience=60)

    assert log.read_text(encoding="utf-8") == '{"a":1}\n'
