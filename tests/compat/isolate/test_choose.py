"""Which isolation is used, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
from docker.errors import DockerException

from compat import isolate
from compat.errors import InfraError, UsageError
from compat.isolate import container, interpreters
from compat.isolate.interpreters import Interpreter
from compat.releases import policy

if TYPE_CHECKING:
    from docker import DockerClient


RULES = policy.load()


class Daemon:
    """A Docker daemon that answers, with these runtimes."""

    def __init__(self, *runtimes: str) -> None:
        self._runtimes = runtimes

    def version(self) -> dict[str, str]:
        """Its version."""
        return {"Version": "20.10"}

    def info(self) -> dict[str, Any]:
        """Its runtimes."""
        return {"Runtimes": {name: {} for name in self._runtimes}}


def silent() -> DockerClient:
    """No daemon."""
    msg = "no Docker daemon answers (no such file)"
    raise InfraError(msg)


@pytest.mark.parametrize(
    ("wanted", "gpu", "daemon", "kind", "reason"),
    [
        ("auto", False, Daemon("runc"), "container", "20.10"),
        ("auto", True, Daemon("runc", "nvidia"), "container", "20.10"),
        ("auto", True, Daemon("runc"), "venv", "no NVIDIA runtime"),
        ("container", True, Daemon("runc"), "container", "20.10"),
        ("auto", False, None, "venv", "no such file"),
        ("venv", False, Daemon("runc"), "venv", "--isolation venv"),
    ],
)
def test_containers_are_used_where_they_are_possible(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Literal["auto", "container", "venv"],
    daemon: Daemon | None,
    kind: str,
    reason: str,
    *,
    gpu: bool,
) -> None:
    """The user's word holds; else a daemon that can do it; the reason names what decided."""
    answer = silent if daemon is None else lambda: cast("DockerClient", daemon)
    monkeypatch.setattr(container, "connect", answer)

    choice = isolate.choose(wanted, RULES, gpu=gpu)

    assert choice.isolation.kind == kind
    assert reason in choice.reason


@pytest.mark.parametrize(
    ("wanted", "python", "kind"),
    [("auto", "3.12", "venv"), ("venv", "3.12", "venv"), ("auto", "3.11", "container")],
)
def test_another_python_than_that_of_containers_makes_a_virtual_environment(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Literal["auto", "container", "venv"],
    python: str,
    kind: str,
) -> None:
    """The environment has the Python that is asked for, and a row's lock and setup follow it."""
    monkeypatch.setattr(container, "connect", lambda: cast("DockerClient", Daemon("runc")))
    monkeypatch.setattr(interpreters, "find", lambda series: Interpreter("python", f"{series}.1"))

    isolation = isolate.choose(wanted, RULES, gpu=False, python=python).isolation

    assert (isolation.kind, isolation.python) == (kind, python)


def test_containers_have_one_python() -> None:
    """Asked for another, they are refused before anything is installed."""
    with pytest.raises(UsageError, match=r"containers have Python 3\.11"):
        isolate.choose("container", RULES, gpu=False, python="3.12")


def test_containers_cannot_be_forced_without_a_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no silent change to another isolation."""
    monkeypatch.setattr(container, "connect", silent)

    with pytest.raises(InfraError, match="no Docker daemon"):
        isolate.choose("container", RULES, gpu=False)


def test_a_client_without_a_daemon_is_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of Docker's client becomes this machine's."""

    def from_env() -> DockerClient:
        msg = "connection refused"
        raise DockerException(msg)

    monkeypatch.setattr("docker.from_env", from_env)

    with pytest.raises(InfraError, match="no Docker daemon answers"):
        container.connect()
