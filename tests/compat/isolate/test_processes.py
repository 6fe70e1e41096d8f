"""Commands with a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from compat.isolate import processes

if TYPE_CHECKING:
    from pathlib import Path

    from compat.isolate.protocol import Completed

# A grandchild in a session of its own, whose parent is gone.
DETACH = (
    "import os, subprocess, sys\n"
    'code = \'import subprocess; print(subprocess.Popen(["sleep", "600"], \'\\\n'
    "       'start_new_session=True).pid, flush=True)'\n"
    "subprocess.run([sys.executable, '-c', code], start_new_session=True, check=True)\n"
)


def run(tmp_path: Path, code: str, timeout: float = 30) -> tuple[Completed, str]:
    """Run Python code; how it ended and what it printed."""
    log = tmp_path / "log"
    with log.open("wb") as stream:
        done = processes.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, log=stream, timeout=timeout
        )
    return done, log.read_text(encoding="utf-8")


def is_alive(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('out')", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", 128 + signal.SIGKILL),
    ],
)
def test_the_status_of_the_command_is_reported(tmp_path: Path, code: str, expected: int) -> None:
    """Exit statuses pass through; death by a signal reads as in a shell."""
    done, _ = run(tmp_path, code)

    assert (done.returncode, done.timed_out) == (expected, False)


def test_output_and_errors_reach_the_log(tmp_path: Path) -> None:
    """Both streams are in the log, in order."""
    _, text = run(tmp_path, "import sys; print(1, flush=True); print(2, file=sys.stderr)")

    assert text == "1\n2\n"


@pytest.mark.parametrize("rest", ["", "import time; time.sleep(600)"])
def test_nothing_survives_the_command(tmp_path: Path, rest: str) -> None:
    """Detached descendants are killed when the command ends and when its time is over."""
    done, text = run(tmp_path, DETACH + rest, timeout=3)

    assert done.timed_out == bool(rest)
    assert not is_alive(int(text))


def test_an_interrupted_caller_leaves_nothing(tmp_path: Path) -> None:
    """When the calling process is killed outright, the command ends too."""
    code = (
        "import os, sys; from pathlib import Path; from compat.isolate import processes\n"
        f"processes.run(['sh', '-c', 'echo $$; exec sleep 600'], cwd=Path({str(tmp_path)!r}),\n"
        "    env=os.environ, log=sys.stdout.buffer, timeout=600)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        assert is_alive(pid)
        caller.kill()

    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)
