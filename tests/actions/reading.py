"""Workflows and own actions as this runner knows them; a key that it does not know is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from tests import workflows
from tests.actions.records import ActionsError, OnlyGithub
from tests.workflows import Job, Step, Yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HERE = "ubuntu-24.04"
"""The machine that this one stands in for."""

BUILT_IN = (
    "actions/checkout",
    "actions/setup-python",
    "actions/upload-artifact",
    "actions/download-artifact",
)

_WORKFLOW = {"name", "on", "permissions", "env", "concurrency", "jobs"}
_JOB = {"name", "needs", "if", "strategy", "runs-on", "environment", "timeout-minutes"}
_JOB |= {"permissions", "outputs", "steps"}
_STRATEGY = {"fail-fast", "max-parallel", "matrix"}
_STEP = {"id", "name", "if", "uses", "with", "run", "shell", "env"}
_ACTION = {"name", "description", "inputs", "runs"}
_RUNS = {"using", "steps"}


@dataclass(frozen=True, slots=True)
class OwnAction:
    """A composite action of this repository.

    Attributes:
        folder: Where it is.
        steps: In order.
        inputs: What it takes, with the defaults; ``None`` if one must be given.
    """

    folder: Path
    steps: tuple[Step, ...]
    inputs: tuple[tuple[str, str | None], ...]

    def given(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """The inputs of one use.

        Raises:
            ActionsError: One is missing or unknown.
        """
        known = dict(self.inputs)
        filled = {**known, **inputs}
        missing = [name for name, found in filled.items() if found is None]
        if missing or set(inputs) - set(known):
            names = ", ".join([*missing, *sorted(set(inputs) - set(known))])
            msg = f"{self.folder.name}: missing or unknown inputs: {names}"
            raise ActionsError(msg)
        return {name: found for name, found in filled.items() if found is not None}


def jobs(root: Path, name: str) -> list[Job]:
    """The jobs of a workflow in a checkout.

    Raises:
        ActionsError: There is no such workflow, or something in it that is not known here.
    """
    folder = root / ".github" / "workflows"
    path = folder / f"{name}.yml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in folder.glob("*.yml")))
        msg = f"{name}: no such workflow; there are {known}"
        raise ActionsError(msg)
    body = workflows.load(path)
    _refuse(body, _WORKFLOW, path.name)
    found = [
        Job(name, key, workflows.mapping(job))
        for key, job in workflows.mapping(body["jobs"]).items()
    ]
    for job in found:
        _check(job)
    return found


def triggers(root: Path, name: str) -> list[str]:
    """The events that start a workflow, in order."""
    on = _workflow(root, name)["on"]
    return [*on] if isinstance(on, dict) else workflows.texts(on)


def variables(root: Path, name: str) -> dict[str, str]:
    """What every script of a workflow has in its environment, with its expressions."""
    stated = workflows.mapping(_workflow(root, name).get("env", {}))
    return {key: str(text) for key, text in stated.items()}


def own_action(root: Path, step: Step) -> OwnAction:
    """The action that a step uses.

    Raises:
        ActionsError: There is none, or something in it that is not known here.
    """
    path = root / step.uses.removeprefix("$/") / "action.yml"
    if not path.is_file():
        msg = f"{step.where}: {step.uses} has no action.yml"
        raise ActionsError(msg)
    body = workflows.load(path)
    where = f"{path.parent.name}/action.yml"
    _refuse(body, _ACTION, where)
    runs = workflows.mapping(body["runs"])
    _refuse(runs, _RUNS, where)
    steps = tuple(workflows.steps_of(runs, where))
    for found in steps:
        _check_step(found)
    stated = workflows.mapping(body.get("inputs", {})).items()
    inputs = tuple((key, _default(workflows.mapping(about))) for key, about in stated)
    return OwnAction(path.parent, steps, inputs)


def title(step: Step) -> str:
    """A name to show for a step."""
    if "name" in step.body:
        return str(step.body["name"])
    return step.uses.partition("@")[0] or step.run.strip().splitlines()[0]


def only_github(step: Step) -> str:
    """Why only GitHub can run a step; empty if it runs here."""
    action = step.uses.partition("@")[0]
    if action and not step.is_own and action not in BUILT_IN:
        return f"the action {action}"
    # What is given the token is there to talk to GitHub.
    if "github.token" in yaml.safe_dump(step.body):
        return "GitHub's token"
    return ""


def foreign_machine(job: Job) -> str:
    """What machine a job needs that this is not; empty if it runs here."""
    if job.labels == [HERE]:
        return ""
    return "a GPU" if "gpu" in job.labels else f"a machine {', '.join(job.labels)}"


def left_out(root: Path, found: list[Job]) -> list[OnlyGithub]:
    """Everything in some jobs that only GitHub can do."""
    return [part for job in found for part in _left_out(root, job)]


def _left_out(root: Path, job: Job) -> Iterator[OnlyGithub]:
    if machine := foreign_machine(job):
        yield OnlyGithub(job.name, "the job", f"needs {machine}")
    if environment := job.body.get("environment"):
        named = environment["name"] if isinstance(environment, dict) else environment
        yield OnlyGithub(job.name, "the job", f"the rules of the environment {named}")
    if job.writes:
        scopes = ", ".join(sorted(job.writes))
        yield OnlyGithub(job.name, "the job", f"a token that may write: {scopes}")
    for step in job.steps:
        within = own_action(root, step).steps if step.is_own else (step,)
        for part in within:
            if why := only_github(part):
                yield OnlyGithub(job.name, title(part), why)


def _workflow(root: Path, name: str) -> dict[str, Yaml]:
    return workflows.load(root / ".github" / "workflows" / f"{name}.yml")


def _default(about: Mapping[str, Yaml]) -> str | None:
    if about.get("required") == "true":
        return None
    return str(about.get("default", ""))


def _check(job: Job) -> None:
    _refuse(job.body, _JOB, job.where)
    strategy = workflows.mapping(job.body.get("strategy", {}))
    _refuse(strategy, _STRATEGY, job.where)
    # Here no job is cancelled because another one failed.
    if strategy and strategy.get("fail-fast") != "false":
        msg = f"{job.where}: a matrix without `fail-fast: false` is not known to this runner"
        raise ActionsError(msg)
    for step in job.steps:
        _check_step(step)


def _check_step(step: Step) -> None:
    _refuse(step.body, _STEP, step.where)
    if step.uses and "env" in step.body:
        msg = f"{step.where}: variables for an action are not known to this runner (tests/actions)"
        raise ActionsError(msg)


def _refuse(body: Mapping[str, Yaml], known: set[str], where: str) -> None:
    if unknown := sorted(set(body) - known):
        msg = f"{where}: {', '.join(unknown)}: not known to this runner (tests/actions)"
        raise ActionsError(msg)
