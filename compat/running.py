"""Running cells from the command line, and recording what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat import (
    actions,
    booking,
    fragments,
    gate,
    pipeline,
    plan,
    policy,
    record,
    report,
    reuse,
)
from compat.errors import ExitCode, InfraError
from compat.evidence import Verdict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from compat.attempt import Cell
    from compat.evidence import Row
    from compat.progress import Progress

_EXIT_CODES = {
    Verdict.PASSED: ExitCode.PASSED,
    Verdict.FAILED: ExitCode.FAILED,
    Verdict.TIMEOUT: ExitCode.TIMEOUT,
    Verdict.NO_EVIDENCE: ExitCode.NO_EVIDENCE,
}
_GRAVITY = (
    ExitCode.FAILED,
    ExitCode.TIMEOUT,
    ExitCode.INFRA,
    ExitCode.NO_EVIDENCE,
    ExitCode.PASSED,
)


def run(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate one cell and record what was found, in the registry or in a fragment."""
    order = _order(arguments, arguments.version)
    return _run(order, arguments, progress)


def sweeping(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate many releases one after the other; each is recorded as soon as it is done."""
    lane = pipeline.lane_of(_order(arguments, ""))
    releases = arguments.versions or [
        str(candidate.version) for candidate in plan.load() if candidate.serves(lane)
    ]
    progress.note(f"{len(releases)} releases on lane {lane}: {', '.join(releases)}")
    progress.note(pipeline.space(arguments.out.resolve(), lane))
    codes = [_continue(version, arguments, progress) for version in releases]
    return min(codes, key=_GRAVITY.index)


def _continue(version: str, arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Run one of many; trouble of this machine ends it and not the others."""
    try:
        return _run(_order(arguments, version), arguments, progress)
    except InfraError as error:
        progress.problem(f"vLLM {version}: {error}")
        return ExitCode.INFRA


def _order(arguments: argparse.Namespace, version: str) -> pipeline.Order:
    return pipeline.Order(
        wanted=version,
        isolation=arguments.isolation,
        out=arguments.out.resolve(),
        runner=arguments.runner,
        lane=arguments.lane,
        discard=arguments.discard,
    )


def _run(order: pipeline.Order, arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    fragment: Path | None = arguments.fragment
    if fragment is not None:
        fragment.unlink(missing_ok=True)  # an earlier run's is no evidence for this one
    cell = pipeline.cell_of(order)
    # Broken, it is noticed before an hour of work. A pass of this very content may be history by
    # now, where evidence about other code has come since.
    known = record.load_all(arguments.registry, str(cell.candidate.version))
    # The gate asks for the newest run of each job; after one that came to nothing, one is run.
    forced = arguments.force or (fragment is not None and _is_unsettled(cell, known))
    if not forced and (kept := _reused(order, cell, known, progress)):
        if fragment is not None:
            fragments.write(fragment, kept)  # the plan waits for an answer of each of its jobs
        return ExitCode.PASSED
    rows = booking.rows(pipeline.run(order, progress))
    if fragment is not None:
        fragments.write(fragment, rows)
    else:
        record.append(arguments.registry, rows)
    progress.console.print(report.run_table(rows))
    for row in rows:
        if row.reason:
            progress.note(row.reason)
    progress.note(f"recorded in {fragment or arguments.registry}")
    # A failure outweighs missing evidence, which outweighs a pass.
    return min((_EXIT_CODES[row.verdict] for row in rows), key=_GRAVITY.index)


def _reused(
    order: pipeline.Order, cell: Cell, known: Sequence[Row], progress: Progress
) -> tuple[Row, ...]:
    """The rows that make a run superfluous, each told; none if it has to be run."""
    isolation = pipeline.choose(order, cell).isolation
    wanted = reuse.inputs(cell, isolation, policy.load())
    kept = reuse.find(wanted, known)
    for row in kept:
        progress.note(f"{_passed(row)}, reused; --force runs it again")
    for row, changed in () if kept else reuse.outdated(wanted, known):
        progress.note(f"{_passed(row)}, not reused: {' and '.join(changed)} changed since")
    return kept


def _is_unsettled(cell: Cell, known: Sequence[Row]) -> bool:
    job = actions.cell(str(cell.candidate.version), cell.lane, cell.runner)
    return any(gate.unsettled([job], known))


def _passed(row: Row) -> str:
    cell = row.cell
    name = f"vLLM {cell.vllm}, lane {cell.lane}, runner {cell.runner}, mode {cell.mode}"
    return f"{name}: passed on {row.recorded_at[:10]} (record {row.record_id[:8]})"
