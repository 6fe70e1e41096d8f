"""The newest release of vLLM that a machine with a GPU can run."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from compat.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compat.releases.candidates import Candidate

_DRIVERS = {"13": 580, "12": 525}
"""Branch of the driver that each version of CUDA needs at least: NVIDIA, "CUDA Compatibility",
table 1 of "Minor Version Compatibility"."""

_CAPABILITIES = {"13": 75, "12": 50}
"""Compute capability of the oldest GPU that each compiles for: the release notes of CUDA 13.0."""

_ASK = "name a release with --vllm, such as --vllm 0.28"


@dataclass(frozen=True, slots=True)
class Machine:
    """The properties of a machine that decide which release runs.

    Attributes:
        lane: Its lane, such as ``cuda-sm90``.
        driver: The version of its driver, such as ``580.65.06``.
    """

    lane: str
    driver: str


def newest(candidates: Sequence[Candidate], machine: Machine, wheels: Path | None) -> Candidate:
    """The newest release whose CUDA the driver runs, and whose wheel installs in this Python.

    Args:
        candidates: Oldest first.
        machine: The machine.
        wheels: A folder that has to hold its wheel, where no index is asked.

    Raises:
        UsageError: There is none, or it cannot be told; the line says what to do.
    """
    branch = re.match(r"(\d+)\.", machine.driver)
    if branch is None:
        msg = f"the driver calls its version {machine.driver[:40]!r}, which is none; {_ASK}"
        raise UsageError(msg)
    reasons = []
    for candidate in reversed(candidates):
        reason = _obstacle(candidate, machine, int(branch[1]))
        if not reason and wheels is not None and not _is_in(candidate, "cuda", wheels):
            reason = f"{wheels} has no CUDA wheel of vLLM {candidate.version}"
        if not reason:
            return candidate
        reasons.append(reason)
    msg = f"no release fits this machine: {reasons[0] if reasons else 'there are none'}; {_ASK}"
    raise UsageError(msg)


def require_wheel(candidate: Candidate, family: str, wheels: Path) -> None:
    """Look whether a folder holds a release, before anything else is installed from it.

    Args:
        candidate: The release.
        family: ``cpu`` or ``cuda``: which build of it.
        wheels: The folder.

    Raises:
        UsageError: It does not.
    """
    if not _is_in(candidate, family, wheels):
        names = " or ".join(_files(candidate, family)) or f"no {family} wheel for this system"
        msg = f"--wheels {wheels}: vLLM {candidate.version} is not in it, which would be {names}"
        raise UsageError(msg)


def _obstacle(candidate: Candidate, machine: Machine, branch: int) -> str:
    """Why a release does not run here; empty if it does."""
    name, major = f"vLLM {candidate.version}", candidate.cuda.partition(".")[0]
    if major not in _DRIVERS:
        msg = f"{name} is built for CUDA {candidate.cuda}, whose driver is not known here; {_ASK}"
        raise UsageError(msg)
    if branch < _DRIVERS[major]:
        needed = f"needs a driver from {_DRIVERS[major]} on (CUDA {candidate.cuda})"
        return f"{name} {needed}, and this is {machine.driver}"
    if int(machine.lane.rpartition("sm")[2]) < _CAPABILITIES[major]:
        return f"{name} (CUDA {candidate.cuda}) does not run on a GPU of lane {machine.lane}"
    python = platform.python_version()
    if not SpecifierSet(candidate.requires_python).contains(python, prereleases=True):
        return f"{name} needs Python {candidate.requires_python}, and this is {python}"
    return "" if _files(candidate, "cuda") else f"{name} has no CUDA wheel for this system"


def _is_in(candidate: Candidate, family: str, wheels: Path) -> bool:
    return any((wheels / name).is_file() for name in _files(candidate, family))


def _files(candidate: Candidate, family: str) -> list[str]:
    """The names of a build's wheels that install here."""
    here = set(sys_tags())
    return [
        wheel.filename
        for build in candidate.builds
        if build.lane == family
        for wheel in build.wheels
        if here & parse_wheel_filename(wheel.filename)[3]
    ]
