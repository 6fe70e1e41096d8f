"""The steps of a job, in order, those of own actions among them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tests.actions import expressions, reading
from tests.actions.expressions import Evaluate, Scope
from tests.actions.machine import Machine, Script
from tests.actions.records import Outcome, Say, StepError, StepReport
from tests.actions.uses import USES
from tests.workflows import Step, mapping

if TYPE_CHECKING:
    from pathlib import Path

    from tests.actions.artifacts import Store

After: TypeAlias = Callable[[Machine, "dict[str, str]"], "dict[str, str]"]
"""Sees what a script has left behind, and returns its outputs."""

_NOT_IN_ACTIONS = {"needs", "vars"}
_LAST_LINES = 25


@dataclass(slots=True)
class Frame:
    """A list of steps that is being run: a job's, or those of an own action.

    Attributes:
        contexts: What its expressions can see, besides the following.
        action: Folder of the action.
        prefix: Of the names that are shown.
        status: What has become of its steps so far.
        finished: The context ``steps``.
    """

    contexts: dict[str, object]
    action: Path | None = None
    prefix: str = ""
    status: Outcome = "success"
    finished: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class StepRunner:
    """Runs steps on the machine of a job.

    Attributes:
        machine: What they run on.
        store: The artifacts of the run.
        evaluate: What answers expressions.
        say: Shows a line.
        after: What sees a script's outputs before later steps do.
        reports: What has become of each step.
    """

    machine: Machine
    store: Store
    evaluate: Evaluate
    say: Say
    after: After = lambda _, outputs: outputs
    reports: list[StepReport] = field(default_factory=list)

    def run(self, steps: Sequence[Step], frame: Frame) -> Outcome:
        """Run steps in order, and say what has become of them; the first failure decides."""
        for step in steps:
            outputs: dict[str, str] = {}
            outcome: Outcome = "skipped"
            condition = str(step.body.get("if", ""))
            if not expressions.holds(condition, self.scope(frame), self.evaluate):
                self._report(StepReport(_name(step, frame), "skipped"))
            elif why := reading.only_github(step):
                self._report(StepReport(_name(step, frame), "skipped", only_github=why))
            elif step.is_own:
                outcome = self._own_action(step, frame)
            else:
                outcome = self._single(step, frame, outputs)
            if outcome == "failure":
                frame.status = "failure"
            if "id" in step.body:
                about = {"outcome": outcome, "conclusion": outcome, "outputs": outputs}
                frame.finished[str(step.body["id"])] = about
        return frame.status

    def scope(self, frame: Frame) -> Scope:
        """What expressions can see after the steps that have been run."""
        runner = {"os": "Linux", "temp": str(self.machine.temp)}
        own = {"steps": frame.finished, "env": self.machine.variables, "runner": runner}
        return Scope({**frame.contexts, **own}, frame.status)

    def _own_action(self, step: Step, frame: Frame) -> Outcome:
        action = reading.own_action(self.machine.source, step)
        inputs = action.given(self._filled(step, "with", frame))
        contexts = {k: v for k, v in frame.contexts.items() if k not in _NOT_IN_ACTIONS}
        # It has a status of its own: what failed before it is the business of its `if`.
        within = Frame({**contexts, "inputs": inputs}, action.folder, f"{action.folder.name}: ")
        return self.run(action.steps, within)

    def _single(self, step: Step, frame: Frame, outputs: dict[str, str]) -> Outcome:
        name = _name(step, frame)
        log = self.machine.logs / f"{len(self.reports) + 1:02}-{_slug(name)}.log"
        began = time.monotonic()
        outcome: Outcome = "success"
        try:
            self._work(step, frame, log, outputs)
        except StepError as error:
            outcome = "failure"
            with log.open("a", encoding="utf-8") as stream:
                stream.write(f"error: {error}\n")
        self._report(StepReport(name, outcome, time.monotonic() - began, log))
        return outcome

    def _work(self, step: Step, frame: Frame, log: Path, outputs: dict[str, str]) -> None:
        if step.uses:
            use = USES[step.uses.partition("@")[0]]
            told = use(self.machine, self.store, self._filled(step, "with", frame))
            log.write_text(f"{told}\n", encoding="utf-8")
            return
        filled = self._filled(step, "env", frame)
        script = Script(
            expressions.fill({"run": step.run}, self.scope(frame), self.evaluate)["run"],
            str(step.body.get("shell", "")),
            tuple(filled.items()),
            frame.action,
        )
        ran = self.machine.run(script, log)
        outputs |= self.after(self.machine, ran.outputs)
        if ran.status != 0:
            msg = f"exit status {ran.status}"
            raise StepError(msg)

    def _filled(self, step: Step, key: str, frame: Frame) -> dict[str, str]:
        texts = {name: str(text) for name, text in mapping(step.body.get(key, {})).items()}
        return expressions.fill(texts, self.scope(frame), self.evaluate)

    def _report(self, report: StepReport) -> None:
        self.reports.append(report)
        what = f"only GitHub: {report.only_github}" if report.only_github else report.outcome
        self.say(f"  {what:8} {report.seconds:7.1f} s  {report.name}")
        if report.outcome == "failure" and report.log is not None:
            lines = report.log.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in lines[-_LAST_LINES:]:
                self.say(f"    | {line}")
            self.say(f"    all of it: {report.log}")


def _name(step: Step, frame: Frame) -> str:
    return f"{frame.prefix}{reading.title(step)}"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")[:40]
