"""``run``: run a cell and record what was found."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from compat.axes import ASKED_RUNNERS, DEFAULT
from compat.cell import pipeline, recording, reuse
from compat.cell.resolution import resolve
from compat.cell.target import RunRequest
from compat.commands.options import add_async, add_place
from compat.errors import ExitCode
from compat.registry import fragments, store, tables
from compat.release import gate
from compat.releases import matrix
from value_steer.cli.arguments.types import PATH, TEXT, VERSION
from value_steer.cli.places import NEW_FILE, OUTPUT_FOLDER
from value_steer.registry.model import Verdict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from compat.cell.services import Services
    from compat.cell.target import RunTarget
    from compat.commands.options import Menu
    from compat.console import Progress
    from value_steer.registry.rows import Row

EXIT_CODES = {
    Verdict.PASSED: ExitCode.PASSED,
    Verdict.FAILED: ExitCode.FAILED,
    Verdict.TIMEOUT: ExitCode.TIMEOUT,
    Verdict.NO_EVIDENCE: ExitCode.NO_EVIDENCE,
}
"""The exit status of each verdict."""

GRAVITY = (
    ExitCode.FAILED,
    ExitCode.TIMEOUT,
    ExitCode.USAGE,
    ExitCode.INFRA,
    ExitCode.NO_EVIDENCE,
    ExitCode.PASSED,
)
"""Of several ends the first one in this order is told to the shell."""


def add(menu: Menu) -> None:
    """Put the commands on the menu."""
    run = menu.add_parser("run", help="validate value-steer on one release of vLLM")
    run.add_argument("version", type=VERSION, help="a series (0.28) or a release (0.28.0)")
    run.add_argument("--fragment", type=PATH, help="write the rows here, not into the registry")
    add_options(run)
    run.set_defaults(command=run_cell, places={"--out": OUTPUT_FOLDER, "--fragment": NEW_FILE})


def add_options(command: argparse.ArgumentParser) -> None:
    """How a cell is run and what becomes of it."""
    add_cell(command)
    command.add_argument("--force", action="store_true", help="run it whatever evidence there is")
    command.add_argument("--discard", action="store_true", help="remove the environment at the end")


def add_cell(command: argparse.ArgumentParser) -> None:
    """Which cell of a release it is, and where it is run."""
    add_place(command)
    command.add_argument(
        "--runner",
        choices=ASKED_RUNNERS,
        default=DEFAULT,
        help="the model runner that vLLM is made to build; v2 on a CPU runs interpreted",
    )
    command.add_argument(
        "--lane",
        type=TEXT,
        help="the lane that this must be (cpu, cpu-async, cuda-sm80), or it stops",
    )
    add_async(command)
    command.add_argument(
        "--python", type=_python, help="make a virtual environment of this Python, such as 3.12"
    )


def _python(text: str) -> str:
    if re.fullmatch(r"3\.\d{1,2}", text) is None:
        msg = f"{text[:20]!r} is no version of Python such as 3.12"
        raise ArgumentTypeError(msg)
    return text


def run_cell(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate one cell and record what was found, in the registry or in a fragment."""
    return _run(request_of(arguments, arguments.version), arguments, progress)


def request_of(arguments: argparse.Namespace, version: str) -> RunRequest:
    """The request that the arguments make, for one release."""
    return RunRequest(
        wanted=version,
        isolation=arguments.isolation,
        out=arguments.out.resolve(),
        runner=arguments.runner,
        lane=arguments.lane,
        discard=arguments.discard,
        python=arguments.python,
        asynchronous=arguments.asynchronous,
    )


def _run(request: RunRequest, arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    services: Services = arguments.services
    fragment: Path | None = arguments.fragment
    if fragment is not None:
        fragment.unlink(missing_ok=True)  # an earlier run's is no evidence for this one
    target = resolve(request, services)
    # Broken, it is noticed before an hour of work. A pass of this very content may be history by
    # now, where evidence about other code has come since.
    known = store.load_all(arguments.registry, target.vllm)
    # The gate asks for the newest run of each job; after one that came to nothing, one is run.
    forced = arguments.force or (fragment is not None and _is_unsettled(target, known))
    if not forced and (kept := _reused(target, known, services, progress)):
        if fragment is not None:
            fragments.write(fragment, kept)  # the plan waits for an answer of each of its jobs
        return ExitCode.PASSED
    rows = recording.rows(pipeline.run(target, services, progress))
    if fragment is not None:
        fragments.write(fragment, rows)
    else:
        store.append(arguments.registry, rows)
    progress.console.print(tables.run_table(rows))
    for row in rows:
        if row.reason:
            progress.note(row.reason)
    progress.note(f"{rows[0].seconds:.0f} s, recorded in {fragment or arguments.registry}")
    # A failure outweighs missing evidence, which outweighs a pass.
    return min((EXIT_CODES[row.verdict] for row in rows), key=GRAVITY.index)


def _reused(
    target: RunTarget, known: Sequence[Row], services: Services, progress: Progress
) -> tuple[Row, ...]:
    """The rows that make a run superfluous, each told; none if it has to be run."""
    wanted = reuse.inputs(target, services.identify(target.lane))
    kept = reuse.find(wanted, known)
    for row in kept:
        progress.note(f"{_passed(row)}, reused; --force runs it again")
    for row, changed in () if kept else reuse.outdated(wanted, known):
        progress.note(f"{_passed(row)}, not reused: {' and '.join(changed)} changed since")
    return kept


def _is_unsettled(target: RunTarget, known: Sequence[Row]) -> bool:
    job = matrix.cell(target.vllm, target.lane, target.runner)
    return any(gate.unsettled([job], known))


def _passed(row: Row) -> str:
    cell = row.cell
    name = f"vLLM {cell.vllm}, lane {cell.lane}, runner {cell.runner}, mode {cell.mode}"
    return f"{name}: passed on {row.recorded_at[:10]} (record {row.record_id[:8]})"
