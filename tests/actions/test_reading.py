"""Our workflows are read as a whole; what the runner does not know is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import workflows
from tests.actions import reading
from tests.actions.records import ActionsError, OnlyGithub
from tests.workflows import ROOT, Step

if TYPE_CHECKING:
    from pathlib import Path

JOB = "runs-on: ubuntu-24.04, steps: [{run: 'true'}]"


def workflow(root: Path, job: str) -> Path:
    """A checkout with the workflow ``w``, of one job."""
    path = root / ".github" / "workflows" / "w.yml"
    path.parent.mkdir(parents=True)
    path.write_text(f"on: push\njobs: {{a: {{{job}}}}}\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("name", workflows.names())
def test_every_workflow_can_be_run_here(name: str) -> None:
    """All of its keys are known, those of own actions too."""
    jobs = reading.jobs(ROOT, name)
    own = [step for job in jobs for step in job.steps if step.is_own]

    assert [job.name for job in jobs] == [job.name for job in workflows.jobs(name)]
    assert all(reading.own_action(ROOT, step).steps for step in own)


def test_what_only_github_can_do_is_found() -> None:
    """Machines, environments, tokens that write, and the steps that need one of these."""
    found = {
        (part.job, part.step, part.why)
        for name in workflows.names()
        for part in reading.left_out(ROOT, reading.jobs(ROOT, name))
        if part.step != "the job"
    }
    jobs = reading.left_out(ROOT, reading.jobs(ROOT, "compat-matrix"))

    assert found == {
        (
            "propose",
            'bash "$GITHUB_ACTION_PATH/propose.sh" "$RUNNER_TEMP/proposal"',
            "GitHub's token",
        ),
        ("attest", "actions/attest", "the action actions/attest"),
        ("publish", "pypa/gh-action-pypi-publish", "the action pypa/gh-action-pypi-publish"),
    }
    assert OnlyGithub("gpu", "the job", "needs a GPU") in jobs
    assert OnlyGithub("gpu", "the job", "the rules of the environment gpu") in jobs


def test_a_workflow_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """With those that do."""
    with pytest.raises(ActionsError, match="v: no such workflow; there are w"):
        reading.jobs(workflow(tmp_path, JOB), "v")


@pytest.mark.parametrize(
    ("job", "refused"),
    [
        (f"{JOB}, container: debian", "w.yml: a: container: not known"),
        ("runs-on: x, steps: [{run: a, continue-on-error: true}]", "continue-on-error"),
        ("runs-on: x, steps: [{uses: a, env: {A: b}}]", "variables for an action"),
        (f"{JOB}, strategy: {{matrix: {{x: [a]}}}}", "fail-fast: false"),
        (f"{JOB}, strategy: {{fail-fast: false, what: 1}}", "what: not known"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, job: str, refused: str) -> None:
    """Else it would be left out in silence."""
    with pytest.raises(ActionsError, match=refused):
        reading.jobs(workflow(tmp_path, job), "w")


def test_an_own_action_gets_its_inputs_or_their_defaults() -> None:
    """One that must be given and is not is named, and so is one that it does not have."""
    nox = reading.own_action(ROOT, Step("", {"uses": "$/.github/actions/nox"}))
    keep = reading.own_action(ROOT, Step("", {"uses": "$/.github/actions/keep"}))

    assert nox.given({}) == {"python-version": "3.12"}
    assert nox.given({"python-version": "3.10"}) == {"python-version": "3.10"}
    with pytest.raises(ActionsError, match="keep: missing or unknown inputs: cell"):
        keep.given({})
    with pytest.raises(ActionsError, match="nox: missing or unknown inputs: x"):
        nox.given({"x": ""})
    with pytest.raises(ActionsError, match="has no action"):
        reading.own_action(ROOT, Step("a", {"uses": "$/.github/actions/none"}))


def test_triggers_are_read_in_every_form(tmp_path: Path) -> None:
    """A name, or a mapping of them."""
    assert reading.triggers(workflow(tmp_path, JOB), "w") == ["push"]
    assert "workflow_dispatch" in reading.triggers(ROOT, "compat-matrix")
