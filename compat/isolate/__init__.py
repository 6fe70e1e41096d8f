"""Environments with one vLLM in each: in containers where Docker answers, else in venvs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat.errors import InfraError, UsageError
from compat.isolate import container, interpreters
from compat.isolate.container import ContainerIsolation
from compat.isolate.venv import VenvIsolation

if TYPE_CHECKING:
    from compat.axes import AskedIsolation
    from compat.isolate.protocol import Isolation
    from compat.releases.policy import Policy

__all__ = ["Choice", "choose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """An isolation, and a sentence for the user that says why this one."""

    isolation: Isolation
    reason: str


def choose(
    wanted: AskedIsolation,
    rules: Policy,
    *,
    gpu: bool,
    python: str | None = None,
) -> Choice:
    """The isolation to use.

    Args:
        wanted: ``auto`` takes containers where they are possible.
        rules: The policy.
        gpu: Whether the commands need the GPUs of this machine.
        python: The Python of the environment, such as ``3.12``; the isolation's own if ``None``.

    Raises:
        InfraError: Containers are wanted and no Docker daemon answers.
        UsageError: The Python is not on this machine, or is not that of the containers.
    """
    if python is not None and wanted == "container" and python != rules.python:
        msg = f"--python {python}: containers have Python {rules.python}; use --isolation venv"
        raise UsageError(msg)
    if python not in (None, rules.python) or wanted == "venv":
        reason = "--isolation venv" if wanted == "venv" else f"--python {python}"
        return _venv(rules, python, f"{reason} asks for it")
    try:
        client = container.connect()
        daemon = container.describe(client)
    except InfraError as error:
        if wanted == "container":
            raise
        return _venv(rules, python, f"{error}, so a virtual environment is used")
    if wanted == "auto" and gpu and not daemon.serves_gpus:
        reason = f"the Docker daemon (version {daemon.version}) has no NVIDIA runtime"
        return _venv(rules, python, f"{reason}, so a virtual environment is used")
    reason = f"a Docker daemon answers (version {daemon.version})"
    return Choice(ContainerIsolation(client, rules, gpu=gpu), reason)


def _venv(rules: Policy, python: str | None, reason: str) -> Choice:
    interpreter = interpreters.find(python) if python else interpreters.current()
    return Choice(VenvIsolation(rules, interpreter), reason)
