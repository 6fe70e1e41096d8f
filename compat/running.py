"""Running cells from the command line, and recording what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat import (
    actions,
    booking,
    fragments,
    gate,
    gpu,
    pipeline,
    plan,
    policy,
    record,
    report,
    reuse,
    sweep,
)
from compat.errors import ExitCode
from compat.evidence import Verdict
from compat.policy import CellKind

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from compat.actions import PlannedCell
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
    ExitCode.USAGE,
    ExitCode.INFRA,
    ExitCode.NO_EVIDENCE,
    ExitCode.PASSED,
)


def run(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate one cell and record what was found, in the registry or in a fragment."""
    order = _order(arguments, arguments.version)
    return _run(order, arguments, progress)


def sweeping(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate many releases on every lane of this machine; each is recorded when it is done."""
    rows = record.load(arguments.registry)
    cells = sweep.ordered(_cells(arguments), rows)
    out: Path = arguments.out.resolve()
    jobs = arguments.jobs or sweep.at_a_time(cells[0].lane)
    lanes = dict.fromkeys(cell.lane for cell in cells)
    progress.note(f"{len(cells)} cells on {' and '.join(lanes)}, {jobs} at a time")
    progress.note(f"in this order: {', '.join(cell.name for cell in cells)}")
    progress.note(pipeline.space(out, cells[0].lane))
    durations = sweep.Durations(rows)
    progress.note(_left(durations.left(cells, {}, jobs)))
    processes = sweep.Processes(
        options=(
            *("--isolation", arguments.isolation, "--out", str(out)),
            *(["--force"] if arguments.force else []),
        ),
        registry=arguments.registry.resolve(),
        logs=out / "sweep" if jobs > 1 else None,
        discard=arguments.discard,
    )

    def tell(state: sweep.State) -> None:
        done = len(cells) - len(state.waiting) - len(state.running)
        left = _left(durations.left(state.waiting, state.running, jobs))
        progress.note(f"{state.ended.name}: {_ending(state.status)}")
        progress.note(f"{done} of {len(cells)} cells done, {left}")
        if state.status != ExitCode.PASSED and processes.logs is not None:
            progress.note(f"log: {processes.log(state.ended)}")
            progress.show_tail(processes.log(state.ended))

    return min(sweep.run(cells, jobs, processes, tell), key=_GRAVITY.index)


def _cells(arguments: argparse.Namespace) -> tuple[PlannedCell, ...]:
    """The cells that are asked for: those of every lane of this machine, of one, or of a runner."""
    candidates = plan.load()
    wanted = {plan.select(name, candidates) for name in arguments.versions} or set(candidates)
    machine = "cpu" if (arguments.lane or "").startswith("cpu") else gpu.lane()
    known = sweep.kinds(machine, policy.load().cells)
    kinds = [kind for kind in known if arguments.lane in (None, kind.lane)]
    if arguments.runner != "default" or not kinds:
        lane = pipeline.lane_of(_order(arguments, ""))
        kinds = [CellKind(lane, arguments.runner, since=str(candidates[0].version))]
    return actions.planned([c for c in candidates if c in wanted], kinds)


def _ending(status: int) -> str:
    words = {code.value: code.name.lower().replace("_", " ") for code in ExitCode}
    return words.get(status, f"ended by signal {-status}" if status < 0 else f"status {status}")


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "how long is left is not known: nothing was timed on this lane"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min left if each is run"


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
