"""The request of a user, and the one run that it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compat.axes import DEFAULT
from compat.cell.host import Options

if TYPE_CHECKING:
    from pathlib import Path

    from compat.axes import AskedIsolation, AskedRunner
    from compat.isolate.protocol import Isolation
    from compat.releases.candidates import Build, Candidate
    from compat.releases.policy import Policy


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A request for a run.

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
    isolation: AskedIsolation
    out: Path
    runner: AskedRunner = DEFAULT
    lane: str | None = None
    discard: bool = False
    python: str | None = None
    asynchronous: bool = False
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class RunTarget:
    """One run: its subject, its place and its rules.

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
