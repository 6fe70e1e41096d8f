"""The steps of one cell inside an isolation, and the verdict of how far they got."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from compat import lanes
from compat.cell import junit, steps, verdict
from compat.cell.reports import Facts
from compat.errors import InstallError, ReportError, ResolveError
from compat.isolate import recipes
from value_steer.registry.model import Cause, Depth, Verdict
from value_steer.registry.rows import public_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compat.cell.reports import CollectedTest
    from compat.cell.services import Services
    from compat.cell.target import RunTarget
    from compat.cell.verdict import Judgement
    from compat.checkout import Product
    from compat.console import Progress
    from compat.isolate.protocol import Completed, Prepared

_CONTRACT_BROKEN = 1


class _StoppedError(Exception):
    """A step came to an end that decides the verdict of the whole run."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(judgement.reason)
        self.judgement = judgement


class Attempt:
    """Makes an environment, runs in it what there is to run, and judges.

    Attributes:
        prepared: The environment, once it has come to be.
        facts: What runs in it, once that is known.
    """

    def __init__(
        self,
        target: RunTarget,
        built: Product,
        expected: Sequence[CollectedTest],
        services: Services,
        progress: Progress,
    ) -> None:
        self._target = target
        self._built = built
        self._expected = expected
        self._services = services
        self._progress = progress
        self._early: Judgement | None = None
        self.prepared: Prepared | None = None
        self.facts: Facts | None = None

    def go(self) -> None:
        """Carry out the steps, up to the first that decides the verdict.

        Raises:
            InfraError: The network, Docker or the disk failed.
        """
        try:
            self.prepared = self.prepare()
            with steps.opened(self._target, self._built, self.prepared) as bench:
                self._observe(bench)
        except ResolveError as error:
            self._early = _failed(Cause.RESOLVE, str(error), Depth.NONE)
        except InstallError as error:
            self._early = _failed(Cause.INSTALL, str(error), Depth.RESOLVES)
        except ReportError as error:
            self._early = _void(str(error), Depth.INSTALLS)
        except _StoppedError as stop:
            self._early = stop.judgement

    def judgements(self) -> dict[str, Judgement]:
        """One judgement per mode that the suite covers."""
        modes = sorted({mode for test in self._expected for mode in test.modes})
        if self._early is not None:
            return dict.fromkeys(modes, self._early)
        suite, control = self._report("suite"), self._report("control")
        return {mode: verdict.judge(self._expected, suite, control, mode) for mode in modes}

    def prepare(self) -> Prepared:
        """Install what the target needs, or find it installed.

        Raises:
            InfraError: The network, Docker or the disk failed.
            ResolveError: pip finds no fitting packages.
            InstallError: pip finds them and cannot install them, or the index serves another file.
        """
        target, isolation = self._target, self._target.isolation
        recipe = recipes.recipe(target.candidate, target.lane, target.rules)
        log = target.out / "lock.log"
        with self._progress.step("lock", log):
            recipe = replace(recipe, lock=self._services.lock(recipe, isolation.python, log))
        log = target.out / "prepare.log"
        title = f"install {recipe.distribution} {recipe.version} ({isolation.kind})"
        with self._progress.step(title, log):
            prepared = isolation.prepare(recipe, target.workspace, log)
        if prepared.wheel_sha256 not in {wheel.sha256 for wheel in target.build.wheels}:
            msg = (
                f"{prepared.wheel} has SHA-256 {prepared.wheel_sha256}, which is not the one in "
                "matrix/candidates.json; the index serves another file under the same name"
            )
            raise InstallError(msg)
        if prepared.reused:
            self._progress.note("the environment of an earlier run is reused")
        return prepared

    def _observe(self, bench: steps.Bench) -> None:
        limits = self._target.rules.timeout_minutes
        with self._progress.step("import", bench.out / "preflight.log"):
            facts = steps.preflight(bench, limits.preflight * 60)
        if not isinstance(facts, Facts):
            raise self._stopped(facts, Cause.IMPORT, Depth.INSTALLS, "preflight.log")
        strange = _strange(self._target, facts)
        if strange:
            raise _StoppedError(_void(strange, Depth.IMPORTS))
        self.facts = facts
        with self._progress.step("contracts", bench.out / "contracts.json"):
            done = steps.contracts(bench, self._target.runner, limits.contracts * 60)
        if done.timed_out or done.returncode != 0:
            cause = Cause.CONTRACT if done.returncode == _CONTRACT_BROKEN else None
            raise self._stopped(done, cause, Depth.IMPORTS, "contracts.json")
        # How the tests ended is read from their reports; here only whether they came to an end.
        title = "behavioural suite, and its negative control (a dead plug-in)"
        with self._progress.step(title, bench.out / "suite.log"):
            seconds = (limits.suite + limits.control) * 60
            # A GPU has not been tried with twice as many engines.
            at_once = lanes.parse(self._target.lane).is_cpu
            done = steps.behaviour(bench, seconds, side_by_side=at_once)
        if done.timed_out:
            raise self._stopped(done, None, Depth.IMPORTS, "suite.log")

    def _stopped(
        self, done: Completed, cause: Cause | None, depth: Depth, log: str
    ) -> _StoppedError:
        """The error that ends an attempt at a step; without a cause it is no evidence."""
        self._progress.show_tail(self._target.out / log)
        if done.timed_out:
            reason = f"no end after {done.seconds:.0f} s, see {log}"
            return _StoppedError(verdict.early(Verdict.TIMEOUT, None, reason, depth))
        reason = f"exit status {done.returncode}, see {log}"
        return _StoppedError(_failed(cause, reason, depth) if cause else _void(reason, depth))

    def _report(self, name: str) -> junit.SuiteReport | ReportError:
        try:
            return junit.read_report(self._target.out / f"{name}.xml")
        except ReportError as error:
            return error


def _failed(cause: Cause, reason: str, depth: Depth) -> Judgement:
    return verdict.early(Verdict.FAILED, cause, reason, depth)


def _void(reason: str, depth: Depth) -> Judgement:
    return verdict.early(Verdict.NO_EVIDENCE, None, reason, depth)


def _strange(target: RunTarget, facts: Facts) -> str:
    """How what runs inside differs from what the cell is named for; empty: it does not."""
    wanted = (target.vllm, target.lane, target.build.distribution)
    vllm, distribution = public_version(facts.vllm), canonicalize_name(facts.distribution)
    found = (str(vllm), facts.lane, str(distribution))
    return "" if found == wanted else f"{' '.join(found)} runs in place of {' '.join(wanted)}"
