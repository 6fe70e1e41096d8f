"""One release in every way that a machine can run it; how one ends does not end the others."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compat.axes import DEFAULT
from compat.cell import pipeline, recording
from compat.cell.host import Options
from compat.cell.resolution import resolve
from compat.cell.target import RunRequest
from compat.errors import CompatError, ExitCode
from compat.registry import fragments
from compat.release import measurement
from value_steer.cli.one_line import one_line
from value_steer.records.codec import encode
from value_steer.records.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compat.axes import AskedIsolation, AskedRunner
    from compat.cell.services import Services
    from compat.console import Progress
    from compat.release.measurement import Ratio
    from value_steer.registry.model import Cause, Control, Environment, Package, Verdict
    from value_steer.registry.rows import Row

SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run a release.

    Attributes:
        name: Of its folder.
        title: What people call it.
        runner: The model runner that vLLM is made to build.
        options: How engines run on a GPU.
        lane: The lane of a CPU; ``None`` for that of this machine's GPU.
        gpus: How many GPUs it takes.
        is_recorded: Whether its rows are evidence. A row does not say how engines run on a GPU, so
            it stands for what vLLM does there by default.
    """

    name: str
    title: str
    runner: AskedRunner
    options: Options
    lane: str | None = None
    gpus: int = 1
    is_recorded: bool = False


ON_GPUS = (
    Variant("v2", "V2, graphs", "v2", Options(), is_recorded=True),
    Variant("v2-eager", "V2, eager", "v2", Options(eager=True)),
    Variant("v1", "V1, graphs", "v1", Options(), is_recorded=True),
    Variant("v2-two-ranks", "V2, two ranks", "v2", Options(ranks=2), gpus=2),
)
"""vLLM's default on a GPU, then variants that differ from it in one respect."""

ON_A_CPU = (
    Variant("cpu-async", "V1, CPU, async", "default", Options(), "cpu-async", 0, is_recorded=True),
    Variant("cpu", "V1, CPU", "default", Options(), "cpu", 0, is_recorded=True),
)
"""Stand-ins for them where there is no GPU, so that all else can be tried."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session to run.

    Attributes:
        vllm: The release.
        variants: In this order.
        lane: The lane of this machine's GPU, or ``cpu``.
        gpus: How many GPUs there are.
        driver: Their driver.
        isolation: Where vLLM is installed.
        sync_check: See :class:`compat.cell.host.Options`.
        workspace: Folder for environments.
        folder: Folder for all that is found out.
    """

    vllm: str
    variants: tuple[Variant, ...]
    lane: str
    gpus: int
    driver: str | None
    isolation: AskedIsolation
    sync_check: str | None
    workspace: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class ModeOutcome:
    """How the suite and its negative control ended for one mode."""

    mode: str
    runner: str | None
    verdict: Verdict
    cause: Cause | None
    reason: str | None
    passed: int
    expected: int
    control: Control


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something of a variant is missing, with the exit status that says so."""

    text: str
    status: ExitCode


@dataclass(frozen=True, slots=True)
class VariantResult:
    """The result of a variant.

    Attributes:
        variant: Its name.
        title: What people call it.
        is_recorded: Whether its rows are evidence.
        options: How engines ran on a GPU; ``None`` on a CPU.
        skipped: Why it was not run; ``None`` if it was.
        modes: How the suite ended, by mode.
        environment: What it ran in.
        package: The code that was tested.
        seconds: What suite and control took, the installation included.
        ratios: What steering costs.
        problems: What is missing, and why.
    """

    variant: str
    title: str
    is_recorded: bool
    options: Options | None
    skipped: str | None = None
    modes: tuple[ModeOutcome, ...] = ()
    environment: Environment | None = None
    package: Package | None = None
    seconds: float | None = None
    ratios: tuple[Ratio, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """The results of a session, so far."""

    vllm: str
    lane: str
    gpus: int
    driver: str | None
    outcomes: tuple[VariantResult, ...]


def run(session: Session, services: Services, progress: Progress) -> Summary:
    """Run every variant that this machine can run; what is known is on disk after each."""
    outcomes: list[VariantResult] = []
    summary = Summary(session.vllm, session.lane, session.gpus, session.driver, ())
    for variant in session.variants:
        outcomes.append(_result(variant, session, services, progress))
        summary = replace(summary, outcomes=tuple(outcomes))
        content = json.dumps(encode(summary), indent=2) + "\n"
        write_atomically(session.folder / SUMMARY, content.encode())
    return summary


def _result(
    variant: Variant, session: Session, services: Services, progress: Progress
) -> VariantResult:
    options = replace(variant.options, sync_check=session.sync_check if variant.gpus else None)
    told = options if variant.gpus else None
    outcome = VariantResult(variant.name, variant.title, variant.is_recorded, told)
    if session.gpus < variant.gpus:
        return replace(outcome, skipped="one GPU" if session.gpus else "no GPU")
    progress.console.print(f"\n[bold]{variant.title}[/bold]")
    folder = session.folder / variant.name
    fragment = folder / "fragment.json"
    fragment.unlink(missing_ok=True)  # an earlier run's is no evidence for this one
    try:
        target = replace(resolve(_request(variant, session, options), services), out=folder)
        result = pipeline.run(target, services, progress)
        rows = recording.rows(result)
        if variant.is_recorded:
            fragments.write(fragment, rows)
    except CompatError as error:
        return replace(outcome, problems=(_told(error, progress),))
    outcome = replace(
        outcome,
        problems=_other_runner(variant, rows, progress),
        modes=tuple(map(_mode, rows)),
        environment=rows[0].environment,
        package=rows[0].package,
        seconds=rows[0].seconds,
    )
    try:
        return replace(outcome, ratios=measurement.measure(result, progress))
    except CompatError as error:
        return replace(outcome, problems=(*outcome.problems, _told(error, progress)))


def _request(variant: Variant, session: Session, options: Options) -> RunRequest:
    return RunRequest(
        wanted=session.vllm,
        isolation=session.isolation,
        out=session.workspace,
        runner=variant.runner,
        lane=variant.lane or session.lane,
        options=options,
    )


def _other_runner(variant: Variant, rows: Sequence[Row], progress: Progress) -> tuple[Problem, ...]:
    """That vLLM did not build the model runner that it was told to."""
    built = {row.cell.runner for row in rows if row.cell.runner is not None}
    if variant.runner == DEFAULT or built <= {variant.runner}:
        return ()
    text = f"vLLM built model runner {', '.join(sorted(built))}, which is what its rows say"
    progress.problem(text)
    return (Problem(text, ExitCode.NO_EVIDENCE),)


def _told(error: CompatError, progress: Progress) -> Problem:
    text = one_line(str(error))
    progress.problem(text)
    return Problem(text, error.exit_code)


def _mode(row: Row) -> ModeOutcome:
    return ModeOutcome(
        mode=row.cell.mode,
        runner=row.cell.runner,
        verdict=row.verdict,
        cause=row.cause,
        reason=row.reason,
        passed=row.tests.passed,
        expected=row.tests.expected,
        control=row.negative_control,
    )
