"""Workflows from the first job to the last, on small repositories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.actions import report
from tests.actions.records import ActionsError
from tests.actions.run import Choice, Request, WorkflowRun, chosen
from tests.actions.stand_ins import evaluate, event, repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.actions.records import JobReport

CELLS = [{"name": f"{v}-cpu", "vllm": v} for v in ("0.28.0", "0.29.0")]
MATRIX = """
on: [workflow_dispatch]
env: {BRANCH: "${{ github.ref_name }}", PIP_A: "${{ vars.PIP_A }}"}
jobs:
  plan:
    runs-on: ubuntu-24.04
    outputs:
      cpu: ${{ steps.cpu.outputs.matrix }}
    steps:
      - uses: actions/checkout@1
        with: {persist-credentials: "false"}
      - uses: $/.github/actions/plan
      - id: cpu
        run: |
          mkdir out
          cp plan.json out/
          echo "matrix=$(cat plan.json)" >>"$GITHUB_OUTPUT"
      - uses: actions/upload-artifact@1
        with: {name: plan, path: out/plan.json, if-no-files-found: error}
  cpu:
    name: cell ${{ matrix.name }}
    needs: plan
    strategy: {fail-fast: false, matrix: "${{ fromJSON(needs.plan.outputs.cpu) }}"}
    runs-on: ubuntu-24.04
    steps:
      - run: |
          test ! -e plan.json # nothing is checked out
          mkdir out
          echo "$NAME" >out/fragment.json
          test "$NAME" != 0.29.0-cpu
        env: {NAME: "${{ matrix.name }}"}
      - uses: $/.github/actions/keep
        if: ${{ !cancelled() }}
        with: {cell: "${{ matrix.name }}"}
      - run: echo never
      - if: failure()
        run: echo "told $BRANCH, $PIP_A"
  gpu:
    runs-on: [self-hosted, gpu]
    steps: [{run: "false"}]
  record:
    needs: [cpu, gpu]
    if: always()
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/download-artifact@1
        with: {name: plan, path: out}
      - uses: actions/download-artifact@1
        with: {pattern: fragment-*, path: out/fragments}
      - run: cat out/plan.json out/fragments/*/fragment.json; test "$RESULT" = success
        env: {RESULT: "${{ needs.cpu.result }}"}
      - uses: some/action@1
      - run: gh pr create
        env: {GH_TOKEN: "${{ github.token }}"}
  after:
    needs: record
    runs-on: ubuntu-24.04
    steps: [{run: "true"}]
"""
PLAN_ACTION = """
runs:
  using: composite
  steps:
    - {run: 'test -f "$GITHUB_ACTION_PATH/action.yml"', shell: bash}
"""
KEEP_ACTION = """
inputs: {cell: {required: "true"}}
runs:
  using: composite
  steps:
    - uses: actions/upload-artifact@1
      with: {name: "logs-${{ inputs.cell }}", path: "out/*.log"}
    - uses: actions/upload-artifact@1
      with: {name: "fragment-${{ inputs.cell }}", path: out/fragment.json}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with a workflow like that of the matrix."""
    files = {
        ".github/workflows/w.yml": MATRIX,
        ".github/actions/plan/action.yml": PLAN_ACTION,
        ".github/actions/keep/action.yml": KEEP_ACTION,
        "plan.json": json.dumps({"include": CELLS}),
    }
    return repository(tmp_path / "source", files)


def run(source: Path, *cells: str, jobs: tuple[str, ...] = ()) -> tuple[list[JobReport], list[str]]:
    """Run the workflow; the reports, and the lines that were shown."""
    lines: list[str] = []
    request = Request(event("w"), source, source.parent / "out", Choice(jobs, cells))
    return WorkflowRun(request, evaluate, lines.append).run(), lines


def log(source: Path, job: str, step: str) -> str:
    """What a step has printed."""
    (path,) = (source.parent / "out" / "jobs" / job / "logs").glob(f"*{step}*.log")
    return path.read_text("utf-8")


def test_one_cell_goes_from_the_plan_to_the_end(source: Path) -> None:
    """The plan that is handed on has no other, so nothing is missing afterwards."""
    reports, lines = run(source, "0.28.0-cpu")

    assert [(found.name, found.outcome) for found in reports] == [
        ("plan", "success"),
        ("cell 0.28.0-cpu", "success"),
        ("gpu", "skipped"),
        ("record", "success"),
        ("after", "skipped"),  # not all that came before it has passed
    ]
    assert "  --cells: 1 of the 2 cells of the plan go on" in lines
    told = log(source, "record", "cat-out")
    assert "0.28.0-cpu\n" in told
    assert "0.29.0" not in told


def test_a_job_that_fails_is_shown_and_its_needs_are_told(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps after the failure run only if they ask to; what the job leaves is taken up."""
    monkeypatch.setenv("PIP_A", "a")
    reports, lines = run(source)
    failed = next(found for found in reports if found.name == "cell 0.29.0-cpu")

    assert failed.outcome == "failure"
    assert [step.outcome for step in failed.steps] == [
        *("failure", "success", "success"),
        *("skipped", "success"),
    ]
    assert "    | error: exit status 1" in lines
    assert {found.outcome for found in reports if found.job == "record"} == {"failure"}
    assert "0.29.0-cpu\n" in log(source, "record", "cat-out")
    assert log(source, "cpu-2", "echo-told") == "told main, a\n"


def test_what_only_github_can_run_is_not_run(source: Path) -> None:
    """And stands in the table."""
    reports, _ = run(source, "0.28.0")
    (recorded,) = [found for found in reports if found.job == "record"]

    assert [step.only_github for step in recorded.steps if step.only_github] == [
        "the action some/action",
        "GitHub's token",
    ]
    table = report.jobs(reports)
    assert "skipped (needs a GPU)" in table
    assert "success, in part" in table
    assert "some/action, gh pr create" in table


def test_a_job_that_passes_leaves_its_logs_alone(source: Path) -> None:
    """One that fails leaves everything, to be looked at."""
    run(source, "0.29.0", jobs=("cpu",))
    jobs = source.parent / "out" / "jobs"

    assert [path.name for path in (jobs / "plan").iterdir()] == ["logs"]
    assert (jobs / "cpu" / "workspace" / "out" / "fragment.json").is_file()


def test_a_cell_that_is_not_planned_ends_the_run(source: Path) -> None:
    """With what there is."""
    with pytest.raises(ActionsError, match=r"--cells 0.30.0: .* 0.28.0, 0.29.0, .* 0.28.0-cpu"):
        run(source, "0.30.0", "0.28.0")


def test_what_is_asked_for_must_be_there(source: Path) -> None:
    """Before anything runs."""
    assert [job.name for job in chosen(source, "w", Choice(("cpu",)))] == ["plan", "cpu"]
    with pytest.raises(ActionsError, match="no such job"):
        chosen(source, "w", Choice(("none",)))
    with pytest.raises(ActionsError, match="none of gpu has a matrix"):
        chosen(source, "w", Choice(("gpu",), ("a",)))
