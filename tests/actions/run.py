"""A workflow, run here: each job in a fresh clone of the commit, one after the other."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.actions import expressions, order, reading
from tests.actions.artifacts import Store
from tests.actions.cut import JOB, Cut
from tests.actions.expressions import Evaluate, Scope
from tests.actions.machine import Machine, environment, repository_variables
from tests.actions.records import ActionsError, Event, JobReport, Outcome, Say
from tests.actions.steps import Frame, StepRunner
from tests.workflows import Job, mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a workflow to run; nothing means all of it.

    Attributes:
        jobs: Names of jobs, which are run with all that they need.
        cells: Cells or releases of the plan, or values of a matrix in the file.
    """

    jobs: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        event: What GitHub would say of it; its workflow is the one that is run.
        source: The repository, at its commit.
        out: Folder for everything that comes of it.
        choice: What of it to run.
    """

    event: Event
    source: Path
    out: Path
    choice: Choice = Choice()


@dataclass(slots=True)
class WorkflowRun:
    """A run of a workflow.

    Attributes:
        request: What to run.
        evaluate: What answers expressions.
        say: Shows a line.
        reports: What has become of each job; those of a matrix one by one.
    """

    request: Request
    evaluate: Evaluate
    say: Say
    reports: list[JobReport] = field(default_factory=list)

    def run(self) -> list[JobReport]:
        """Run the jobs in the order of their needs.

        Raises:
            ActionsError: The workflow, or what it is asked for, is not known here.
        """
        jobs = reading.jobs(self.request.source, self.request.event.workflow)
        (self.request.out / "artifacts").mkdir(parents=True)
        for job in chosen(self.request.source, self.request.event.workflow, self.request.choice):
            self._job(job, order.ancestors(jobs, job.name))
        return self.reports

    def _job(self, job: Job, before: set[str]) -> None:
        status = order.status({name: self._result(name) for name in before})
        known = repository_variables(os.environ)
        contexts = {"github": self.request.event.context, "vars": known, "inputs": {}}
        scope = Scope({**contexts, "needs": self._needs(job)}, status)
        why = ""
        if not expressions.holds(str(job.body.get("if", "")), scope, self.evaluate):
            why = "its condition does not hold"
        elif machine := reading.foreign_machine(job):
            why = f"needs {machine}"
        if why:
            self.say(f"{job.name}: skipped, {why}")
            self.reports.append(JobReport(job.name, job.name, "skipped", why))
            return
        matrix = order.instances(job, scope, self.evaluate)
        # A matrix that another job has printed was cut there.
        if self.request.choice.cells and isinstance(job.matrix, dict):
            matrix = order.kept(matrix, self.request.choice.cells, job.where)
        for number, values in enumerate(matrix, 1):
            folder = job.name if len(matrix) == 1 else f"{job.name}-{number}"
            self.reports.append(
                self._instance(job, scope, values, self.request.out / "jobs" / folder)
            )

    def _instance(
        self, job: Job, scope: Scope, values: Mapping[str, object], folder: Path
    ) -> JobReport:
        contexts = {**scope.contexts, "matrix": values}
        own = str(job.body.get("name", job.name))
        name = expressions.fill({"name": own}, Scope(contexts), self.evaluate)["name"]
        self.say(f"{job.name}: {name}" if name != job.name else name)
        told = {**self.request.event.variables, "GITHUB_JOB": job.name}
        machine = Machine(folder, self.request.source, environment(os.environ, told))
        stated = reading.variables(self.request.source, self.request.event.workflow)
        machine.variables |= expressions.fill(stated, Scope(scope.contexts), self.evaluate)
        runner = StepRunner(machine, Store(self.request.out / "artifacts"), self.evaluate, self.say)
        if self.request.choice.cells and job.name == JOB:
            runner.after = Cut(self.request.choice.cells, self.say)
        frame = Frame(dict(contexts))
        outcome = runner.run(job.steps, frame)
        handed = {key: str(text) for key, text in mapping(job.body.get("outputs", {})).items()}
        outputs = expressions.fill(handed, runner.scope(frame), self.evaluate)
        if outcome == "success":
            self._tidy(machine)
        return JobReport(job.name, name, outcome, "", tuple(runner.reports), tuple(outputs.items()))

    def _tidy(self, machine: Machine) -> None:
        """Remove what a job leaves behind but its logs: each has environments of its own."""
        for path in (machine.workspace, machine.temp, machine.folder / "python"):
            try:
                shutil.rmtree(path)
            except FileNotFoundError:
                continue  # not every job sets a Python up
            except OSError as error:  # no reason to lose what the job found
                self.say(f"  note: {path} stays ({error})")

    def _result(self, name: str) -> Outcome:
        return order.combined(self._of(name))

    def _of(self, name: str) -> Sequence[JobReport]:
        return [report for report in self.reports if report.job == name]

    def _needs(self, job: Job) -> dict[str, object]:
        """The context ``needs``; of a matrix the last job's outputs count."""
        return {
            name: {
                "result": self._result(name),
                "outputs": {k: v for report in self._of(name) for k, v in report.outputs},
            }
            for name in sorted(job.needs)
        }


def chosen(root: Path, workflow: str, choice: Choice) -> list[Job]:
    """The jobs of a workflow that are to be run, in order.

    Raises:
        ActionsError: The workflow is not known here, or has not what is asked for.
    """
    jobs = order.ordered(reading.jobs(root, workflow), choice.jobs)
    if choice.cells and not any(job.matrix for job in jobs) and JOB not in {j.name for j in jobs}:
        msg = f"--cells: none of {', '.join(job.name for job in jobs)} has a matrix"
        raise ActionsError(msg)
    return jobs
