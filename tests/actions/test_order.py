"""Which jobs run, in which order, and how often a matrix makes one run."""

from __future__ import annotations

import pytest

from tests.actions import order
from tests.actions.expressions import Scope
from tests.actions.records import ActionsError, JobReport, Outcome
from tests.actions.stand_ins import evaluate
from tests.workflows import Job, Yaml

NOTHING = Scope({"needs": {"plan": {"outputs": {"cpu": '{"include": [{"name": "a"}]}'}}}})


def job(name: str, *needs: str, matrix: Yaml = "") -> Job:
    """A job with its needs."""
    strategy: dict[str, Yaml] = {"matrix": matrix}
    return Job("w", name, {"needs": [*needs], "strategy": strategy})


JOBS = [job("gate", "plan", "record"), job("plan"), job("cpu", "plan"), job("record", "cpu")]


def test_a_job_comes_after_what_it_needs() -> None:
    """In the order of the file where nothing else decides."""
    assert [found.name for found in order.ordered(JOBS)] == ["plan", "cpu", "record", "gate"]
    assert [found.name for found in order.ordered(JOBS, ["cpu"])] == ["plan", "cpu"]
    assert order.ancestors(JOBS, "gate") == {"plan", "record", "cpu"}


def test_jobs_that_do_not_exist_are_named() -> None:
    """Those that are asked for, and those that are needed."""
    with pytest.raises(ActionsError, match="gat: no such job; there are gate, plan, cpu, record"):
        order.ordered(JOBS, ["gat"])
    with pytest.raises(ActionsError, match="b: no such job"):
        order.ordered([job("a", "b")])


def test_jobs_that_need_one_another_are_refused() -> None:
    """Nothing could ever start."""
    with pytest.raises(ActionsError, match="a, b: need one another"):
        order.ordered([job("a", "b"), job("b", "a")])


def test_a_matrix_makes_a_job_of_each_combination() -> None:
    """The last name varies first; without a matrix there is one job."""
    two = job("a", matrix={"x": ["1", "2"], "y": ["3", "4"]})

    assert order.instances(job("a"), NOTHING, evaluate) == [{}]
    assert [[*values.values()] for values in order.instances(two, NOTHING, evaluate)] == [
        ["1", "3"],
        ["1", "4"],
        ["2", "3"],
        ["2", "4"],
    ]


def test_a_matrix_can_come_from_another_job() -> None:
    """As the text of its output."""
    planned = job("a", matrix="${{ fromJSON(needs.plan.outputs.cpu) }}")

    assert order.instances(planned, NOTHING, evaluate) == [{"name": "a"}]


@pytest.mark.parametrize(
    "matrix",
    [
        {"x": ["1"], "include": [{"x": "2"}]},
        {"x": ["1"], "exclude": [{"x": "1"}]},
        {"x": []},
        {"include": []},
        {"include": ["a"]},
        "${{ needs.plan }}",
    ],
)
def test_a_matrix_of_another_form_is_refused(matrix: Yaml) -> None:
    """None of the workflows has one, and a wrong guess would run the wrong jobs."""
    with pytest.raises(ActionsError, match="matrix"):
        order.instances(job("a", matrix=matrix), NOTHING, evaluate)


def test_a_matrix_can_be_cut_to_some_values() -> None:
    """A value that is nowhere in it is an error which says what there is."""
    matrix = [{"session": "lint"}, {"session": "types"}]

    assert order.kept(matrix, ["lint"], "ci.yml: check") == [{"session": "lint"}]
    with pytest.raises(ActionsError, match=r"ci\.yml: check has lint, types"):
        order.kept(matrix, ["lnt"], "ci.yml: check")


@pytest.mark.parametrize(
    ("outcomes", "combined", "status"),
    [
        (["success", "success"], "success", "success"),
        (["success", "failure"], "failure", "failure"),
        (["skipped"], "skipped", "skipped"),
        (["skipped", "failure"], "failure", "failure"),
    ],
)
def test_one_failure_decides(outcomes: list[Outcome], combined: Outcome, status: Outcome) -> None:
    """For what is said of a matrix, and for the jobs that come after; a skipped job is no pass."""
    reports = [JobReport("a", "a", outcome) for outcome in outcomes]

    assert order.combined(reports) == combined
    assert order.status({str(n): outcome for n, outcome in enumerate(outcomes)}) == status


def test_a_job_without_needs_starts() -> None:
    """Nothing before it has failed."""
    assert order.status({}) == "success"
