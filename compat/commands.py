"""What each command of ``python -m compat`` does."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from compat import (
    actions,
    booking,
    discover,
    fragments,
    gate,
    images,
    pipeline,
    plan,
    product,
    record,
    report,
)
from compat import policy as policies
from compat.errors import ExitCode, UsageError
from compat.evidence import Verdict
from compat.product import ROOT
from value_steer import versions
from value_steer.contracts.wheel import write_atomically

if TYPE_CHECKING:
    import argparse

    from compat.progress import Progress

_EXIT_CODES = {
    Verdict.PASSED: ExitCode.PASSED,
    Verdict.FAILED: ExitCode.FAILED,
    Verdict.TIMEOUT: ExitCode.TIMEOUT,
    Verdict.NO_EVIDENCE: ExitCode.NO_EVIDENCE,
}
_GRAVITY = (ExitCode.FAILED, ExitCode.TIMEOUT, ExitCode.NO_EVIDENCE, ExitCode.PASSED)


def run(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate one cell and record what was found, in the registry or in a fragment."""
    out = arguments.out.resolve()
    order = pipeline.Order(
        arguments.version, arguments.isolation, out, arguments.runner, arguments.lane
    )
    fragment: Path | None = arguments.fragment
    if fragment is not None:
        fragment.unlink(missing_ok=True)  # an earlier run's is no evidence for this one
    else:
        record.load(arguments.registry)  # a broken registry is noticed before an hour of work
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


def registry(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate the registry and show what it says of the code in this checkout."""
    rows = record.load(arguments.registry)
    digest = versions.engine_digest(ROOT / "value_steer")
    progress.console.print(report.registry_table(rows, digest))
    progress.note(f"{len(rows)} rows, all valid")
    return ExitCode.PASSED


def discovery(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Ask the package index for releases and write the candidates."""
    policy = policies.load()
    rules = discover.Rules(
        policy.oldest_vllm, timedelta(hours=policy.cooldown_hours), arguments.prereleases
    )
    found = discover.discover(rules)
    write_atomically(arguments.candidates, plan.dumps(found).encode())
    progress.note(f"{len(found)} releases in {arguments.candidates}, newest {found[-1].version}")
    return ExitCode.PASSED


def planning(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Print the matrix of cells, for GitHub Actions or for a person."""
    cells = actions.planned(plan.load(), policies.load().cells)
    chosen = tuple(c for c in cells if arguments.device in (None, c.device))
    if arguments.versions:
        exact = {str(plan.select(v, plan.load()).version) for v in arguments.versions}
        chosen = tuple(c for c in chosen if c.vllm in exact)
    if not chosen:
        msg = "the plan is empty; no cell of the policy is of this device and these versions"
        raise UsageError(msg)
    text = actions.dumps(chosen)
    if arguments.out is not None:
        write_atomically(arguments.out, text.encode())
        progress.note(f"{len(chosen)} cells in {arguments.out}")
    else:
        progress.console.out(text, end="", highlight=False)
    if arguments.github_output:
        _tell_actions(chosen)
    return ExitCode.PASSED


def imaging(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Build the image of a release, and nothing else."""
    prepared = images.build(arguments.version, arguments.out.resolve(), progress)
    progress.note(f"image {prepared.image_id} with {prepared.wheel}")
    return ExitCode.PASSED


def recording(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Merge the fragments of parallel jobs; a planned cell that sent none is no evidence."""
    planned = actions.load(arguments.plan) if arguments.plan else None
    gathered = fragments.gather(arguments.fragments, planned)
    lost = tuple(
        fragments.missing(planned or (), gathered.rows, product.checkout(), booking.provenance())
    )
    record.append(arguments.registry, (*gathered.rows, *lost))
    for problem in gathered.problems:
        progress.problem(problem)
    for row in lost:
        progress.problem(f"{row.reason} ({row.cell.mode})")
    progress.note(f"{len(gathered.rows)} rows from jobs, {len(lost)} for what is missing")
    return ExitCode.NO_EVIDENCE if lost or gathered.problems else ExitCode.PASSED


def _tell_actions(cells: tuple[actions.PlannedCell, ...]) -> None:
    """Give the matrix to later jobs of a workflow, as the outputs ``matrix`` and ``count``."""
    target = os.environ.get("GITHUB_OUTPUT")
    if not target:
        msg = "--github-output: GITHUB_OUTPUT is not set, so this is no step of a workflow"
        raise UsageError(msg)
    matrix = " ".join(actions.dumps(cells).split())
    with Path(target).open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"matrix={matrix}\ncount={len(cells)}\n")


def gating(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Say everything that keeps the gate shut."""
    planned = actions.load(arguments.plan) if arguments.plan else ()
    found = gate.examine(arguments.registry, planned)
    for shortcoming in found:
        progress.problem(shortcoming)
    if not found:
        progress.note("the gate is open")
    return ExitCode.FAILED if found else ExitCode.PASSED
