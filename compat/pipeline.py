"""One cell of the matrix, from a version's name to recorded evidence.

plan → build the wheel → isolate → preflight → contracts → suite → negative control → verdict →
record. The first step that fails decides the verdict. Nothing is written before the end, so a
run that is killed leaves the registry as it was.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compat import gpu, isolate, junit, plan, policy, product, steps, verdict
from compat.errors import InfraError, InstallError, ReportError, ResolveError
from compat.evidence import Cause, Depth, Facts, Verdict
from compat.isolate.protocol import Mounts, Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from compat.evidence import CollectedTest
    from compat.isolate.protocol import Completed, Isolation, Prepared
    from compat.plan import Candidate
    from compat.policy import Policy
    from compat.product import Product
    from compat.progress import Progress
    from compat.verdict import Judgement

_GIB = 1 << 30


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        wanted: A series (``0.28``) or a release (``0.28.0``).
        isolation: ``container``, ``venv``, or ``auto`` for the best that is there.
        out: Folder for logs, reports and environments.
    """

    wanted: str
    isolation: Literal["auto", "container", "venv"]
    out: Path


@dataclass(frozen=True)
class Cell:
    """A version on a lane of this machine."""

    candidate: Candidate
    lane: str
    out: Path


@dataclass(frozen=True)
class CellResult:
    """Everything that a run found out, whether or not it got to the end.

    Attributes:
        cell: What was tested.
        product: The code that was tested.
        prepared: The environment, if it came to be.
        facts: What runs in it, if it could be imported.
        isolation: ``container`` or ``venv``.
        judgements: One judgement per mode.
        seconds: Time from the first step to the last.
    """

    cell: Cell
    product: Product
    prepared: Prepared | None
    facts: Facts | None
    isolation: str
    judgements: Mapping[str, Judgement]
    seconds: float


def run(order: Order, progress: Progress) -> CellResult:
    """Run one cell.

    Raises:
        UsageError: The order cannot be carried out as it stands.
        InfraError: The network, Docker or the disk failed; nothing is known about the version.
    """
    start = time.monotonic()
    rules = policy.load()
    lane = gpu.lane()
    candidate = plan.select(order.wanted, plan.load())
    cell = Cell(candidate, lane, order.out / f"{candidate.version}-{lane}")
    cell.out.mkdir(parents=True, exist_ok=True)
    for report in ("suite.xml", "control.xml", "facts.json"):
        (cell.out / report).unlink(missing_ok=True)  # an earlier run's are no evidence for this one
    progress.note(f"vLLM {candidate.version} on lane {lane}, results in {cell.out}")
    with progress.step("build the wheel of this checkout", cell.out / "build.log"):
        built = product.build(cell.out)
        expected = steps.collect(built.suite, cell.out)
    choice = isolate.choose(order.isolation, gpu=lane != "cpu")
    progress.note(f"isolation: {choice.isolation.kind}, because {choice.reason}")
    _require_space(cell, rules)
    attempt = _Attempt(cell, built, rules, expected, progress)
    attempt.go(choice.isolation)
    return CellResult(
        cell=cell,
        product=built,
        prepared=attempt.prepared,
        facts=attempt.facts,
        isolation=choice.isolation.kind,
        judgements=attempt.judgements(),
        seconds=time.monotonic() - start,
    )


class _Attempt:
    """The steps inside one isolation, and how far they got."""

    def __init__(
        self,
        cell: Cell,
        built: Product,
        rules: Policy,
        expected: Sequence[CollectedTest],
        progress: Progress,
    ) -> None:
        self._cell = cell
        self._built = built
        self._rules = rules
        self._expected = expected
        self._progress = progress
        self._early: Judgement | None = None
        self.prepared: Prepared | None = None
        self.facts: Facts | None = None

    def go(self, isolation: Isolation) -> None:
        """Make the environment, then run in it what there is to run."""
        try:
            self.prepared = self._prepare(isolation)
        except ResolveError as error:
            self._stop(Cause.RESOLVE, str(error), Depth.NONE)
        except InstallError as error:
            self._stop(Cause.INSTALL, str(error), Depth.RESOLVES)
        else:
            mounts = Mounts(self._built.site, self._built.suite, self._cell.out)
            with isolation.open(self.prepared, mounts) as box:
                self._observe(steps.Bench(box, self._cell.out))

    def judgements(self) -> dict[str, Judgement]:
        """One judgement per mode that the suite covers."""
        modes = sorted({mode for test in self._expected for mode in test.modes})
        if self._early is not None:
            return dict.fromkeys(modes, self._early)
        suite = self._report("suite")
        control = self._report("control")
        return {mode: verdict.judge(self._expected, suite, control, mode) for mode in modes}

    def _prepare(self, isolation: Isolation) -> Prepared:
        build = self._cell.candidate.build(self._cell.lane)
        recipe = Recipe(
            distribution=build.distribution,
            version=str(self._cell.candidate.version),
            torch=self._cell.candidate.torch,
            extras=self._rules.extras,
        )
        log = self._cell.out / "prepare.log"
        title = f"install {recipe.distribution} {recipe.version} ({isolation.kind})"
        with self._progress.step(title, log):
            prepared = isolation.prepare(recipe, self._cell.out.parent, log)
        known = {wheel.sha256 for wheel in build.wheels}
        if prepared.wheel_sha256 not in known:
            msg = (
                f"{prepared.wheel} has SHA-256 {prepared.wheel_sha256}, which is not the one in "
                "matrix/candidates.json; the index serves another file under the same name"
            )
            raise InstallError(msg)
        if prepared.reused:
            self._progress.note("the environment of an earlier run is reused")
        return prepared

    def _observe(self, bench: steps.Bench) -> None:
        try:
            self._inside(bench)
        except ReportError as error:
            reason = str(error)
            self._early = verdict.early(Verdict.NO_EVIDENCE, None, reason, Depth.INSTALLS)

    def _inside(self, bench: steps.Bench) -> None:
        limits = self._rules.timeout_minutes
        with self._progress.step("import", bench.out / "preflight.log"):
            facts = steps.preflight(bench, limits.preflight * 60)
        if not isinstance(facts, Facts):
            return self._stop_after(facts, Cause.IMPORT, Depth.INSTALLS, "preflight.log")
        self.facts = facts
        with self._progress.step("contracts", bench.out / "contracts.json"):
            done = steps.contracts(bench, limits.contracts * 60)
        if done.returncode != 0:
            return self._stop_after(done, Cause.CONTRACT, Depth.IMPORTS, "contracts.json")
        with self._progress.step("behavioural suite", bench.out / "suite.log"):
            done = steps.suite(bench, limits.suite * 60)
        if done.timed_out:
            return self._stop_after(done, Cause.BEHAVIOUR, Depth.IMPORTS, "suite.log")
        with self._progress.step("negative control (a dead plug-in)", bench.out / "control.log"):
            done = steps.control(bench, limits.control * 60)
        if done.timed_out:
            self._stop_after(done, Cause.BEHAVIOUR, Depth.IMPORTS, "control.log")
        return None

    def _stop_after(self, done: Completed, cause: Cause, depth: Depth, log: str) -> None:
        path = self._cell.out / log
        if done.timed_out:
            reason = f"no end after {done.seconds:.0f} s, see {log}"
            self._early = verdict.early(Verdict.TIMEOUT, None, reason, depth)
        else:
            self._stop(cause, f"exit status {done.returncode}, see {log}", depth)
        self._progress.show_tail(path)

    def _stop(self, cause: Cause, reason: str, depth: Depth) -> None:
        self._early = verdict.early(Verdict.FAILED, cause, reason, depth)

    def _report(self, name: str) -> junit.SuiteReport | junit.ReportError:
        try:
            return junit.read_report(self._cell.out / f"{name}.xml")
        except junit.ReportError as error:
            return error


def _require_space(cell: Cell, rules: Policy) -> None:
    space = rules.free_disk_gib
    needed = space.cpu if cell.lane == "cpu" else space.cuda
    free = shutil.disk_usage(cell.out).free / _GIB
    if free < needed:
        msg = (
            f"{free:.1f} GiB are free below {cell.out}, an environment for lane {cell.lane} may "
            f"take {needed:.0f} GiB; free some space (old environments lie in {cell.out.parent})"
        )
        raise InfraError(msg)
