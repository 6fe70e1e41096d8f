"""GitHub's own evaluator, by `nox -s actions`: what it makes of expressions, and of the matrix."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import workflows
from tests.actions import expressions
from tests.actions.__main__ import VARIABLE
from tests.actions.expressions import Scope
from tests.actions.records import ActionsError, Outcome
from tests.actions.run import Choice, Request, WorkflowRun
from tests.actions.stand_ins import event, repository
from tests.workflows import GITHUB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.workflows import Yaml

FOLDER = os.environ.get(VARIABLE, "")

if not FOLDER:
    pytest.skip("needs npm; `nox -s actions` runs it", allow_module_level=True)

NODE = expressions.node(Path(FOLDER))
NEEDS = {"plan": {"result": "success", "outputs": {"cpu": '{"include": [{"name": "a"}]}'}}}
SCOPE = Scope({"needs": NEEDS, "github": {"ref": "refs/heads/main"}, "vars": {}})

NOX_ACTION = """
runs:
  using: composite
  steps:
    - {run: 'echo "$GITHUB_ACTION_PATH" >>"$GITHUB_PATH"', shell: bash}
"""
NOX = """#!/usr/bin/env bash
set -eu
echo "called: $*"
case $2 in
  plan)
    cells='{"include": [
      {"name": "0.28.0-cpu-default", "vllm": "0.28.0", "lane": "cpu", "runner": "default"},
      {"name": "0.29.0-cpu-default", "vllm": "0.29.0", "lane": "cpu", "runner": "default"}]}'
    mkdir -p out
    echo "$cells" >out/plan.json
    echo matrix=$cells >>"$GITHUB_OUTPUT" ;;
  compat) mkdir -p out/a; touch out/a/x.log; echo "rows of $4" >out/fragment.json ;;
  record) cat out/fragments/*/fragment.json >validated_versions.json ;;
  release-gate) grep -q "rows of 0.28.0" validated_versions.json ;;
esac
"""


def test_values_keep_their_kind() -> None:
    """As GitHub's own documentation has them."""
    asked = [
        "fromJSON(needs.plan.outputs.cpu)",
        "needs.cpu.result",
        "github.ref == 'REFS/heads/main'",
    ]

    matrix, missing, same = NODE(asked, SCOPE)

    assert matrix.value == {"include": [{"name": "a"}]}
    assert (missing.text, missing.holds) == ("", False)
    assert same.value is True  # texts are compared without regard to case
    assert json.loads(NODE(["toJSON(needs)"], SCOPE)[0].text) == NEEDS


@pytest.mark.parametrize(
    ("text", "status", "holds"),
    [
        ("Always()", "failure", True),
        ("needs.plan.result == 'success'", "failure", False),
        ("needs.plan.result == 'success'", "success", True),
        ("!cancelled() && needs.plan.result == 'success'", "failure", True),
        ("failure()", "failure", True),
        ("failure()", "skipped", False),
        ("'always()'", "failure", False),
    ],
)
def test_status_functions_are_told_the_status(text: str, status: Outcome, *, holds: bool) -> None:
    """A text that looks like a call is none."""
    assert expressions.holds(text, Scope(SCOPE.contexts, status), NODE) is holds


@pytest.mark.parametrize("text", ["secrets.token", "needs.", "", "hashFiles('a')", "fromJSON('')"])
def test_what_has_no_value_is_an_error(text: str) -> None:
    """Which names the expression."""
    with pytest.raises(ActionsError, match=r"\$\{\{"):
        NODE([text], SCOPE)


def test_every_expression_of_the_workflows_can_be_read() -> None:
    """None names a context that the runner does not give."""
    bodies = [step.body for step in workflows.every_step()]
    bodies += [job.body for job in workflows.every_job()]
    bodies += [{"env": workflows.workflow(name).get("env", {})} for name in workflows.names()]
    texts = [text for body in bodies for text in _texts(body)]
    found = {one.strip() for text in texts for one in expressions.expressions(text)}
    found |= {expressions.condition(str(body["if"])) for body in bodies if "if" in body}
    names = ("github", "needs", "vars", "inputs", "matrix", "steps", "runner", "env")
    # What the plan has printed, for both matrices.
    printed = {"plan": {"outputs": dict.fromkeys(("cpu", "cuda"), "{}")}}
    scope = Scope({**{key: {} for key in names}, "needs": printed})

    assert len(found) > 20
    assert len(NODE(sorted(found), scope)) == len(found)


def _texts(value: Yaml) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        return
    for part in value.values() if isinstance(value, dict) else value:
        yield from _texts(part)


def test_one_cell_goes_through_the_matrix_workflow(tmp_path: Path) -> None:
    """From plan to gate as the file has it, with a stand-in for nox; the proposal is not made."""
    source = tmp_path / "source"
    shutil.copytree(GITHUB, source / ".github", ignore=shutil.ignore_patterns("nox"))
    files = {".github/actions/nox/action.yml": NOX_ACTION, ".github/actions/nox/nox": NOX}
    kept = ("matrix/a", "evidence/a", "README.md", "docs/compatibility.md", "pyproject.toml")
    files |= dict.fromkeys((*kept, "badges/a", "validated_versions.json"), "old\n")
    (source / ".github" / "actions" / "nox").mkdir()
    (source / ".github" / "actions" / "nox" / "nox").touch(mode=0o755)
    request = Request(
        event("compat-matrix"),
        repository(source, files),
        tmp_path / "out",
        Choice(cells=("0.28.0-cpu-default",)),
    )

    reports = WorkflowRun(request, NODE, lambda _: None).run()

    assert [(found.job, found.outcome) for found in reports] == [
        *((job, "success") for job in ("plan", "static", "image", "cpu")),
        ("gpu", "skipped"),
        *((job, "success") for job in ("record", "propose", "gate")),
    ]
    (proposed,) = [found for found in reports if found.job == "propose"]
    assert [bool(step.only_github) for step in proposed.steps] == [False, False, True]
    assert sorted(path.name for path in (tmp_path / "out" / "artifacts").iterdir()) == [
        *("evidence", "fragment-0.28.0-cpu-default-1", "logs-0.28.0-cpu-default-1", "plan")
    ]
