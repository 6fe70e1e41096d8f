"""Commands of the whole matrix: what there is to run, and what came of it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from compat import (
    actions,
    derive,
    discover,
    fragments,
    images,
    knowledge,
    plan,
    recipes,
    rehearse,
    report,
)
from compat import policy as policies
from compat.errors import ExitCode, UsageError
from compat.isolate import locks, resolver
from compat.product import ROOT
from value_steer.contracts.wheel import write_atomically

if TYPE_CHECKING:
    import argparse

    from compat.progress import Progress


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


def locking(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Resolve releases anew and keep what they come to in ``matrix/locks``."""
    rules, candidates = policies.load(), plan.load()
    wanted = [plan.select(version, candidates) for version in arguments.versions] or candidates
    for candidate in wanted:
        if not candidate.serves(arguments.device):
            progress.note(f"vLLM {candidate.version} has no {arguments.device} build")
            continue
        recipe = recipes.recipe(candidate, arguments.device, rules)
        arguments.out.mkdir(parents=True, exist_ok=True)
        log = arguments.out / f"lock-{recipe.version}.log"
        lines = resolver.resolve(recipe, rules.python, log)
        path = locks.write(recipe, rules.python, lines)
        progress.note(f"{len(lines)} packages in {path.relative_to(ROOT)}")
    return ExitCode.PASSED


def imaging(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Build the image of a release, and nothing else."""
    prepared = images.build(arguments.version, arguments.out.resolve(), progress)
    progress.note(f"image {prepared.image_id} with {prepared.wheel}")
    return ExitCode.PASSED


def planning(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Print the matrix of cells, for GitHub Actions or for a person."""
    chosen = _cells(arguments)
    text = actions.dumps(chosen)
    if arguments.out is not None:
        write_atomically(arguments.out, text.encode())
        progress.note(f"{len(chosen)} cells in {arguments.out}")
    else:
        progress.console.out(text, end="", highlight=False)
    if arguments.github_output:
        _tell_actions(chosen)
    return ExitCode.PASSED


def recording(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Merge the fragments of parallel jobs; a planned cell that sent none is no evidence."""
    planned = actions.load(arguments.plan) if arguments.plan else None
    merged = fragments.merge(arguments.registry, arguments.fragments, planned)
    for problem in (*merged.problems, *(f"{r.reason} ({r.cell.mode})" for r in merged.lost)):
        progress.problem(problem)
    if arguments.registry == ROOT / knowledge.REGISTRY:
        derive.write(ROOT, knowledge.load(ROOT))
    progress.note(f"{len(merged.rows)} rows from jobs, {len(merged.lost)} for what is missing")
    return ExitCode.NO_EVIDENCE if merged.lost or merged.problems else ExitCode.PASSED


def rehearsing(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Run the whole matrix for some releases here, with one job killed on purpose."""
    cells = _cells(arguments)
    out = arguments.out.resolve()
    killed = arguments.kill or cells[-1].name
    order = rehearse.Order(cells, killed, arguments.kill_after, arguments.registry, out)
    processes = rehearse.Processes(arguments.isolation, out / "work")
    outcome = rehearse.rehearse(order, processes, progress)
    progress.console.print(report.run_table(outcome.rows))
    for obstacle in outcome.obstacles:
        progress.note(f"the gate is shut: {obstacle}")
    for fault in outcome.faults:
        progress.problem(fault)
    return ExitCode.FAILED if outcome.faults else ExitCode.PASSED


def _cells(arguments: argparse.Namespace) -> tuple[actions.PlannedCell, ...]:
    """The cells of the devices and releases that are asked for."""
    candidates = plan.load()
    cells = actions.planned(candidates, policies.load().cells)
    exact = {str(plan.select(wanted, candidates).version) for wanted in arguments.versions}
    chosen = [c for c in cells if arguments.device in (None, c.device)]
    if found := tuple(c for c in chosen if not exact or c.vllm in exact):
        return found
    msg = "the plan is empty: the policy has no cell of this device and these releases"
    raise UsageError(msg)


def _tell_actions(cells: tuple[actions.PlannedCell, ...]) -> None:
    """Give the matrix to later jobs of a workflow, as the outputs ``matrix`` and ``count``."""
    target = os.environ.get("GITHUB_OUTPUT")
    if not target:
        msg = "--github-output: GITHUB_OUTPUT is not set, so this is no step of a workflow"
        raise UsageError(msg)
    matrix = " ".join(actions.dumps(cells).split())
    with Path(target).open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"matrix={matrix}\ncount={len(cells)}\n")
