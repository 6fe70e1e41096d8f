"""The suite of one cell again and again: which of its tests do not always end the same way."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat.cell import junit, steps
from compat.cell.attempt import Attempt
from compat.cell.junit import CaseOutcome
from compat.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compat.cell.reports import CollectedTest
    from compat.cell.services import Services
    from compat.cell.target import RunTarget
    from compat.console import Progress
    from compat.isolate.protocol import Completed


@dataclass(frozen=True, slots=True)
class Flakes:
    """The results of running a suite several times.

    Attributes:
        tests: How many it consists of.
        seconds: What each run took that came to its end.
        failures: How often each test did not pass, for those that ever did not.
        lost: Why runs have no report.
    """

    tests: int
    seconds: tuple[float, ...]
    failures: dict[str, int]
    lost: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every test passed in every run."""
        return not self.failures and not self.lost


def find(
    target: RunTarget, services: Services, progress: Progress, *, times: int, jobs: int
) -> Flakes:
    """Run the suite of a cell several times in one environment, without its negative control.

    Args:
        target: The cell.
        services: Of this machine.
        progress: Told of each run.
        times: How often.
        jobs: How many runs at a time.

    Raises:
        UsageError: The checkout cannot be built or its suite not collected.
        InfraError: The network, Docker or the disk failed.
        ResolveError: pip finds no fitting packages.
        InstallError: pip finds them and cannot install them.
    """
    target.out.mkdir(parents=True, exist_ok=True)
    with progress.step("build the wheel of this checkout", target.out / "build.log"):
        built = services.build(target.out, target.lane)
        expected = services.collect(built.suite, target)
    prepared = Attempt(target, built, expected, services, progress).prepare()
    names = [f"flakes-{number}" for number in range(1, times + 1)]
    for name in names:
        (target.out / f"{name}.xml").unlink(missing_ok=True)
    limit = target.rules.timeout_minutes.suite * 60 * jobs
    with steps.opened(target, built, prepared) as bench, ThreadPoolExecutor(jobs) as pool:

        def run(name: str) -> Completed:
            done = steps.suite(bench, name, limit)
            progress.note(f"{name}: {_summary(done, target.out / f'{name}.log')}")
            return done

        ended = [*pool.map(run, names)]
    return _read(target.out, expected, dict(zip(names, ended, strict=True)))


def _summary(done: Completed, log: Path) -> str:
    """The last line of pytest's own output."""
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{done.seconds:.0f} s, {said[-1].strip('= ') if said else 'no output'}"


def _read(out: Path, expected: Sequence[CollectedTest], runs: dict[str, Completed]) -> Flakes:
    failures: Counter[str] = Counter()
    seconds, lost = [], []
    for name, done in runs.items():
        if done.timed_out:
            lost.append(f"{name}: no end after {done.seconds:.0f} s")
            continue
        try:
            report = junit.read_report(out / f"{name}.xml")
        except ReportError as error:
            lost.append(f"{name}: {error}")
            continue
        seconds.append(done.seconds)
        passed = {test for test, case in report.cases.items() if case.outcome is CaseOutcome.PASSED}
        failures.update({test.id for test in expected} - passed)
    return Flakes(len(expected), tuple(seconds), dict(failures), tuple(lost))
