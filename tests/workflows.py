"""The files below .github/, read into records that tests can walk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"

Yaml: TypeAlias = "dict[str, Yaml] | list[Yaml] | str"


@dataclass(frozen=True)
class Step:
    """A step and where it stands.

    Attributes:
        where: File, job and position, for messages.
        body: What the file says.
    """

    where: str
    body: dict[str, Yaml]

    @property
    def run(self) -> str:
        """The shell script, empty if the step uses an action."""
        return str(self.body.get("run", ""))

    @property
    def uses(self) -> str:
        """The action, empty if the step runs a script."""
        return str(self.body.get("uses", ""))

    @property
    def is_own(self) -> bool:
        """Whether it uses an action of this repository."""
        return self.uses.startswith("$/")

    @property
    def inputs(self) -> dict[str, Yaml]:
        """What an action is given."""
        return mapping(self.body.get("with", {}))


@dataclass(frozen=True)
class Job:
    """A job of a workflow.

    Attributes:
        workflow: Name of the file, without its suffix.
        name: Its key.
        body: What the file says.
    """

    workflow: str
    name: str
    body: dict[str, Yaml]

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.workflow}.yml: {self.name}"

    @property
    def steps(self) -> list[Step]:
        """Its steps, in order."""
        return steps_of(self.body, self.where)

    @property
    def needs(self) -> set[str]:
        """The jobs that it waits for."""
        return set(texts(self.body.get("needs", [])))

    @property
    def labels(self) -> list[str]:
        """Labels of the machine that it runs on."""
        return texts(self.body["runs-on"])

    @property
    def permissions(self) -> dict[str, Yaml]:
        """What its token may do."""
        return mapping(self.body["permissions"])

    @property
    def writes(self) -> set[str]:
        """The scopes that its token may write to."""
        return {scope for scope, right in self.permissions.items() if right == "write"}

    @property
    def matrix(self) -> Yaml:
        """What is varied; a text where another job prints it, empty without any."""
        return mapping(self.body.get("strategy", {})).get("matrix", "")


def workflow(name: str) -> dict[str, Yaml]:
    """A workflow."""
    return load(GITHUB / "workflows" / f"{name}.yml")


def names() -> list[str]:
    """The workflows, by file name."""
    return sorted(path.stem for path in (GITHUB / "workflows").glob("*.yml"))


def jobs(name: str) -> list[Job]:
    """The jobs of a workflow, in order."""
    return [Job(name, key, mapping(body)) for key, body in mapping(workflow(name)["jobs"]).items()]


def every_job() -> list[Job]:
    """The jobs of all workflows."""
    return [job for name in names() for job in jobs(name)]


def every_step() -> list[Step]:
    """The steps of all workflows and of the repository's own actions."""
    own = [
        step
        for path in sorted((GITHUB / "actions").glob("*/action.yml"))
        for step in steps_of(mapping(load(path)["runs"]), f"{path.parent.name}/action.yml")
    ]
    return [step for job in every_job() for step in job.steps] + own


def triggers(name: str) -> set[str]:
    """The events that start a workflow."""
    on = workflow(name)["on"]
    return set(on) if isinstance(on, dict) else set(texts(on))


def mapping(value: Yaml) -> dict[str, Yaml]:
    """A value that must be a mapping."""
    assert isinstance(value, dict), value
    return value


def texts(value: Yaml) -> list[str]:
    """A text or a list of texts, as a list."""
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)]


def steps_of(body: dict[str, Yaml], where: str) -> list[Step]:
    """The steps of a job or of an action, in order."""
    steps = body["steps"]
    assert isinstance(steps, list)
    return [Step(f"{where}, step {i}", mapping(step)) for i, step in enumerate(steps, 1)]


def load(path: Path) -> dict[str, Yaml]:
    """A file, with every scalar as a text."""
    # YAML 1.1 would read the key `on` as true.
    loader = yaml.BaseLoader
    return mapping(yaml.load(path.read_text(encoding="utf-8"), loader))  # noqa: S506  (texts only)
