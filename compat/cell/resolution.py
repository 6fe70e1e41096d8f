"""From what a user asks for to the one run that it means, resolved once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from compat import lanes
from compat.cell.target import RunTarget
from compat.errors import UsageError
from compat.releases.candidates import select_release

if TYPE_CHECKING:
    from compat.cell.services import Services
    from compat.cell.target import RunRequest


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
