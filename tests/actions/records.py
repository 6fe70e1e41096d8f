"""What is known of a run of a workflow, and what can end one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Outcome: TypeAlias = Literal["success", "failure", "skipped"]

Say: TypeAlias = Callable[[str], None]
"""Shows a line while a workflow runs."""


class ActionsError(Exception):
    """The run cannot go on; the message says why and what to do."""


class StepError(ActionsError):
    """A step fails, as it would on GitHub; the message goes into its log."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What became of a step.

    Attributes:
        name: As shown.
        outcome: ``skipped`` if its condition did not hold, or if only GitHub can run it.
        seconds: How long it took.
        log: What it printed, if it was run.
        only_github: Why only GitHub can run it; empty if it runs here.
    """

    name: str
    outcome: Outcome
    seconds: float = 0.0
    log: Path | None = None
    only_github: str = ""


@dataclass(frozen=True, slots=True)
class JobReport:
    """What became of a job, or of one of those that a matrix makes of it.

    Attributes:
        job: Its key in the workflow.
        name: As shown.
        outcome: ``skipped`` if it was not started.
        why: Why it was skipped, else empty.
        steps: In order; those of own actions stand in place of the action.
        outputs: What later jobs can read.
    """

    job: str
    name: str
    outcome: Outcome
    why: str = ""
    steps: tuple[StepReport, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()

    @property
    def seconds(self) -> float:
        """How long all steps took."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True, slots=True)
class OnlyGithub:
    """Something that a run here leaves out.

    Attributes:
        job: Key of the job.
        step: Name of the step, or ``the job`` itself.
        why: What it needs.
    """

    job: str
    step: str
    why: str


@dataclass(frozen=True, slots=True)
class Event:
    """What GitHub would say of the run.

    Attributes:
        workflow: Name of the file, without its suffix.
        name: Of the event.
        ref: In full: ``refs/heads/main``.
        sha: The commit.
    """

    workflow: str
    name: str
    ref: str
    sha: str

    @property
    def ref_name(self) -> str:
        """The branch or tag."""
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")

    @property
    def context(self) -> dict[str, object]:
        """The context ``github``; without a token, which nobody here has."""
        return {
            "event": {"repository": {"fork": False}},
            "event_name": self.name,
            "ref": self.ref,
            "ref_name": self.ref_name,
            "repository": "local/value-steer",
            "run_attempt": "1",
            "run_id": "1",
            "run_number": "1",
            "sha": self.sha,
            "workflow": self.workflow,
        }

    @property
    def variables(self) -> dict[str, str]:
        """The same for scripts."""
        return {
            f"GITHUB_{key.upper()}": value
            for key, value in self.context.items()
            if isinstance(value, str)
        }
