"""Environments with one vLLM in each: in containers where Docker answers, else in venvs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compat.errors import InfraError
from compat.isolate import container
from compat.isolate.container import ContainerIsolation
from compat.isolate.venv import VenvIsolation

if TYPE_CHECKING:
    from docker import DockerClient

    from compat.isolate.protocol import Isolation
    from compat.releases.policy import Policy

__all__ = ["Choice", "choose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """An isolation, and a sentence for the user that says why this one."""

    isolation: Isolation
    reason: str


def choose(wanted: Literal["auto", "container", "venv"], rules: Policy, *, gpu: bool) -> Choice:
    """The isolation to use.

    Args:
        wanted: ``auto`` takes containers where they are possible.
        rules: The policy.
        gpu: Whether the commands need the GPUs of this machine.

    Raises:
        InfraError: Containers are wanted and no Docker daemon answers.
    """
    if wanted == "venv":
        return Choice(VenvIsolation(rules), "--isolation venv asks for it")
    try:
        client = container.connect()
    except InfraError as error:
        if wanted == "container":
            raise
        return Choice(VenvIsolation(rules), f"{error}, so a virtual environment is used")
    version = client.version()["Version"]
    if wanted == "auto" and gpu and not _serves_gpus(client):
        reason = f"the Docker daemon (version {version}) has no NVIDIA runtime"
        return Choice(VenvIsolation(rules), f"{reason}, so a virtual environment is used")
    reason = f"a Docker daemon answers (version {version})"
    return Choice(ContainerIsolation(client, rules, gpu=gpu), reason)


def _serves_gpus(client: DockerClient) -> bool:
    return "nvidia" in client.info().get("Runtimes", {})
