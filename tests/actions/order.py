"""Which jobs run, in which order, and how often."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.actions import expressions
from tests.actions.records import ActionsError, JobReport, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.actions.expressions import Evaluate, Scope
    from tests.workflows import Job


def ancestors(jobs: Sequence[Job], name: str) -> set[str]:
    """The jobs that a job needs, and those that they need.

    Raises:
        ActionsError: One of them does not exist.
    """
    needs = {job.name: job.needs for job in jobs}
    found: set[str] = set()
    left = [name]
    while left:
        one = left.pop()
        if one not in needs:
            msg = f"{one}: no such job; there are {', '.join(needs)}"
            raise ActionsError(msg)
        left += needs[one] - found
        found |= needs[one]
    return found


def ordered(jobs: Sequence[Job], wanted: Sequence[str] = ()) -> list[Job]:
    """The wanted jobs with all that they need, each after what it needs; all jobs by default.

    Raises:
        ActionsError: A job does not exist, or needs itself.
    """
    names = set(wanted) or {job.name for job in jobs}
    names |= {need for name in names for need in ancestors(jobs, name)}
    left = [job for job in jobs if job.name in names]
    done: list[Job] = []
    while left:
        ready = next((job for job in left if job.needs <= {other.name for other in done}), None)
        if ready is None:
            msg = f"{', '.join(job.name for job in left)}: need one another"
            raise ActionsError(msg)
        left.remove(ready)
        done.append(ready)
    return done


def instances(job: Job, scope: Scope, evaluate: Evaluate) -> list[Mapping[str, object]]:
    """The values of ``matrix`` for each job that is made of one.

    Raises:
        ActionsError: There are none, or in a form that is not known here.
    """
    if not job.matrix:
        return [{}]
    stated = job.matrix
    matrix = expressions.value(stated, scope, evaluate) if isinstance(stated, str) else stated
    if (
        not isinstance(matrix, dict)
        or "exclude" in matrix
        or ("include" in matrix and len(matrix) > 1)
    ):
        msg = f"{job.where}: a matrix is a list of values for each name, or `include` alone"
        raise ActionsError(msg)
    found = matrix["include"] if "include" in matrix else _product(matrix)
    if not found or not all(isinstance(values, dict) for values in found):
        msg = f"{job.where}: the matrix has no values"
        raise ActionsError(msg)
    return [*found]


def kept(
    matrix: Sequence[Mapping[str, object]], names: Sequence[str], where: str
) -> list[Mapping[str, object]]:
    """The combinations of a matrix in which one of some values stands.

    Raises:
        ActionsError: There are none.
    """
    found = [values for values in matrix if set(map(str, values.values())) & set(names)]
    if not found:
        known = ", ".join(dict.fromkeys(str(v) for values in matrix for v in values.values()))
        msg = f"--cells {' '.join(names)}: {where} has {known}"
        raise ActionsError(msg)
    return found


def combined(reports: Sequence[JobReport]) -> Outcome:
    """What ``needs`` says of the jobs that a matrix made of one."""
    outcomes: tuple[Outcome, ...] = ("failure", "success", "skipped")
    return next(found for found in outcomes if found in {report.outcome for report in reports})


def status(results: Mapping[str, Outcome]) -> Outcome:
    """What ``success()`` and ``failure()`` of a job go by: all that came before it."""
    if "failure" in results.values():
        return "failure"
    return "skipped" if "skipped" in results.values() else "success"


def _product(matrix: Mapping[str, object]) -> list[Mapping[str, object]]:
    vectors = [vector if isinstance(vector, list) else [] for vector in matrix.values()]
    return [dict(zip(matrix, values, strict=True)) for values in itertools.product(*vectors)]
