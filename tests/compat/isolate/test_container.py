"""Isolation in containers, against a real daemon.

Opt-in: ``VALUE_STEER_TEST_IMAGE`` names an image with Python, such as one that an earlier
``python -m compat run`` has built.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from compat.errors import InfraError
from compat.isolate import container, image
from compat.isolate.protocol import Mounts, Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

    from compat.releases.policy import Policy

IMAGE = os.environ.get("VALUE_STEER_TEST_IMAGE", "")

pytestmark = pytest.mark.skipif(
    not IMAGE, reason="needs a Docker daemon; VALUE_STEER_TEST_IMAGE names an image with Python"
)
FOREVER = ["python", "-c", "print('started', flush=True); import time; time.sleep(600)"]


@pytest.fixture
def client() -> Iterator[DockerClient]:
    """A client of the daemon."""
    connected = container.connect()
    yield connected
    connected.close()


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    """Folders with one module each in ``site`` and ``suite``."""
    folders = [tmp_path / name for name in ("site", "suite", "out")]
    for folder in folders:
        folder.mkdir()
        (folder / f"of_{folder.name}.py").touch()
    return Mounts(*folders)


@pytest.fixture
def box(client: DockerClient, mounts: Mounts) -> Iterator[container.ContainerBox]:
    """An open box."""
    isolation = container.ContainerIsolation(client, cast("Policy", SimpleNamespace()), gpu=False)
    prepared = Prepared("container", IMAGE, (), "", "", seconds=0.0, reused=True)
    with isolation.open(prepared, mounts) as opened:
        yield opened


def ours(client: DockerClient) -> int:
    """How many containers of ours exist, running or not."""
    (label,) = (f"{name}={value}" for name, value in image.LABEL.items())
    return len(client.containers.list(all=True, filters={"label": label}))


def test_commands_see_the_mounts_and_cannot_change_the_code(
    tmp_path: Path, mounts: Mounts, box: container.ContainerBox
) -> None:
    """The user is the caller, ``out`` is writable and its files are the caller's, the rest not."""
    code = (
        "import json, os, sys; import of_site, of_suite; from pathlib import Path\n"
        "Path(sys.argv[1]).write_text(json.dumps([os.getuid(), os.getcwd(), dict(os.environ)]))\n"
        "Path('of_suite.py').write_text('changed')"
    )
    report, log = mounts.out / "report.json", tmp_path / "log"

    done = box.run(
        ["python", "-c", code, box.inside(report)], log=log, timeout=60, env={"EXTRA": "1"}
    )

    uid, folder, variables = json.loads(report.read_text(encoding="utf-8"))
    assert (done.returncode, done.timed_out) == (1, False)
    assert "Read-only file system" in log.read_text(encoding="utf-8")
    assert (uid, report.stat().st_uid, folder) == (os.getuid(), os.getuid(), "/suite")
    assert (variables["EXTRA"], variables["PYTHONPATH"]) == ("1", "/site:/suite")


def test_a_late_command_is_killed_and_removed(
    tmp_path: Path, client: DockerClient, box: container.ContainerBox
) -> None:
    """At the time limit the container goes; what it had printed stays."""
    before = ours(client)

    done = box.run(FOREVER, log=tmp_path / "log", timeout=3)

    assert done.timed_out
    assert (tmp_path / "log").read_text(encoding="utf-8") == "started\n"
    assert ours(client) == before


def test_an_interrupt_removes_the_container(client: DockerClient, tmp_path: Path) -> None:
    """Ctrl-C in the calling process leaves no container behind."""
    before = ours(client)
    code = (
        "import sys; from pathlib import Path; from compat.isolate import container\n"
        "from compat.isolate.protocol import Mounts, Prepared\n"
        "here = Path(sys.argv[1]); mounts = Mounts(here, here, here)\n"
        "prepared = Prepared('container', sys.argv[2], (), '', '', 0.0, True)\n"
        "isolation = container.ContainerIsolation(container.connect(), None, gpu=False)\n"
        "with isolation.open(prepared, mounts) as box:\n"
        "    box.run(sys.argv[3:], log=here / 'log', timeout=600)\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), IMAGE, *FOREVER], stderr=subprocess.PIPE
    )
    with caller:
        while not (tmp_path / "log").exists() or not (tmp_path / "log").stat().st_size:
            assert caller.poll() is None
            time.sleep(0.1)
        running = ours(client)
        caller.send_signal(2)
        _, errors = caller.communicate(timeout=60)

    assert running == before + 1
    assert b"KeyboardInterrupt" in errors
    assert ours(client) == before


def test_a_command_that_does_not_exist_is_trouble_of_this_machine(
    tmp_path: Path, client: DockerClient, box: container.ContainerBox
) -> None:
    """The daemon's refusal is an error, and its container does not stay."""
    before = ours(client)

    with pytest.raises(InfraError, match="nonsense"):
        box.run(["nonsense"], log=tmp_path / "log", timeout=60)

    assert ours(client) == before


def test_paths_inside_are_below_the_mounts(mounts: Mounts, box: container.ContainerBox) -> None:
    """Each mount has its name inside; any other path is refused."""
    assert box.inside(mounts.out) == "/out"
    assert box.inside(mounts.suite / "a" / "b.py") == "/suite/a/b.py"
    with pytest.raises(ValueError, match="none of the mounts"):
        box.inside(Path("/elsewhere"))
