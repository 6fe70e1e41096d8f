"""From what a user asks for to the one run that it means, resolved once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from packaging.specifiers import SpecifierSet

from compat import lanes
from compat.cell.host import Options
from compat.errors import UsageError
from compat.releases.candidates import select_release

if TYPE_CHECKING:
    from pathlib import Path

    from compat.cell.services import Services
    from compat.isolate.protocol import Isolation
    from compat.releases.candidates import Build, Candidate
    from compat.releases.policy import Policy


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is asked for.

    Attributes:
        wanted: A series (``0.28``) or a release (``0.28.0``).
        isolation: ``container``, ``venv``, or ``auto`` for the best that is there.
        out: Folder for logs, reports and environments.
        runner: The model runner to make the host build, or ``default`` for its own choice.
        lane: The lane that this must be, or ``None`` for the one of this machine.
        discard: Whether the environment is removed at the end.
        python: The Python of the environment, such as ``3.12``, or ``None`` for the isolation's.
        asynchronous: Whether a CPU is to schedule as a GPU does; a lane that does says so too.
        options: How engines run on a GPU.
    """

    wanted: str
    isolation: Literal["auto", "container", "venv"]
    out: Path
    runner: Literal["default", "v1", "v2"] = "default"
    lane: str | None = None
    discard: bool = False
    python: str | None = None
    asynchronous: bool = False
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class RunTarget:
    """What one run tests, where, and by which rules.

    Attributes:
        candidate: The release.
        lane: The device class that it runs on.
        runner: The model runner that is asked for: ``default``, ``v1``, ``v2``.
        out: Folder for the logs and reports of this run.
        workspace: Folder for environments, which runs share.
        isolation: Where vLLM is installed.
        reason: Why this isolation, for the user.
        rules: The policy.
        discard: Whether the environment is removed at the end.
        gpus: How many GPUs the lane has here; 0 for a CPU.
        options: How engines run on them.
    """

    candidate: Candidate
    lane: str
    runner: str
    out: Path
    workspace: Path
    isolation: Isolation
    reason: str
    rules: Policy
    discard: bool = False
    gpus: int = 0
    options: Options = field(default_factory=Options)

    @property
    def vllm(self) -> str:
        """The version under test."""
        return str(self.candidate.version)

    @property
    def build(self) -> Build:
        """The build of the release that this lane runs."""
        return self.candidate.build(self.lane)


def resolve(request: RunRequest, services: Services) -> RunTarget:
    """The run that a request means on this machine.

    Raises:
        UsageError: There is no such release, this machine is another lane, or the Python that is
            asked for is not here or not one that the release runs on.
        InfraError: Containers are asked for and no Docker daemon answers.
    """
    lane = lane_of(request, services)
    candidate = select_release(request.wanted, services.candidates())
    rules, supported = services.rules(), candidate.requires_python
    if request.python and not SpecifierSet(supported).contains(request.python):
        msg = f"--python {request.python}: vLLM {candidate.version} needs Python {supported}"
        raise UsageError(msg)
    gpus = 0 if lanes.parse(lane).is_cpu else services.gpus().count
    choice = services.choose(
        request.isolation, rules, gpu=not lanes.parse(lane).is_cpu, python=request.python
    )
    return RunTarget(
        candidate=candidate,
        lane=lane,
        runner=request.runner,
        out=request.out / f"{candidate.version}-{lane}",
        workspace=request.out,
        isolation=choice.isolation,
        reason=choice.reason,
        rules=rules,
        discard=request.discard,
        gpus=gpus,
        options=request.options,
    )


def lane_of(request: RunRequest, services: Services) -> str:
    """The lane of this machine, which every machine with a GPU may leave for the CPU's.

    Raises:
        UsageError: This machine is another lane than the one that is asked for, or there is none.
    """
    wanted = lanes.parse(request.lane) if request.lane is not None else None
    machine = lanes.CPU if wanted is not None and wanted.is_cpu else services.device()
    asynchronous = request.asynchronous or (wanted is not None and wanted.asynchronous)
    lane = lanes.of(machine, request.runner, asynchronous=asynchronous)
    if wanted not in (None, lane):
        options = f"runner {request.runner}{' and --async' if request.asynchronous else ''}"
        msg = f"this machine with {options} is lane {lane}, not {wanted}"
        raise UsageError(msg)
    return str(lane)
