"""What each command of ``python -m compat`` does."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from compat import (
    actions,
    derive,
    discover,
    flat_registry,
    fragments,
    gate,
    images,
    knowledge,
    package,
    plan,
    recheck,
    recipes,
    record,
    rehearse,
    report,
    static,
)
from compat import policy as policies
from compat.errors import ExitCode, UsageError
from compat.isolate import locks, resolver
from compat.product import ROOT
from compat.standing import Moment, name
from value_steer import compat_story, explain, versions
from value_steer.files import write_atomically

if TYPE_CHECKING:
    import argparse

    from compat.progress import Progress


def registry(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate the registry and show what it says of the code in this checkout."""
    rows, past = record.load(arguments.registry), record.load_history(arguments.registry)
    digest = versions.engine_digest(ROOT / "value_steer")
    progress.console.print(report.registry_table(rows, digest))
    older = len(set(past) - set(rows))
    progress.note(f"{len(rows)} rows and {older} older ones in the history, all valid")
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


def surveying(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Check the contracts in the source of every candidate and record what holds."""
    found = static.survey(plan.load())
    record.replace_static(arguments.registry, found)
    broken = [check for check in found if not check.holds]
    for check in broken:
        place = f"vLLM {check.vllm} ({check.runner}, {check.mode})"
        progress.problem(f"{place}: does not have what {', '.join(check.broken)} needs")
    progress.note(f"{len(found)} cells checked in {arguments.registry}, {len(broken)} broken")
    return ExitCode.FAILED if broken else ExitCode.PASSED


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


def imaging(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Build the image of a release, and nothing else."""
    prepared = images.build(arguments.version, arguments.out.resolve(), progress)
    progress.note(f"image {prepared.image_id} with {prepared.wheel}")
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


def building(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Build both distributions, reproducibly, if the gate lets them pass."""
    for path in package.build(arguments.out):
        progress.note(f"{path}, {path.stat().st_size / 1024:.0f} KiB, the same bytes twice")
    return ExitCode.PASSED


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


def explaining(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Tell what the registry knows about a release, and what it lacks for the extra."""
    known = knowledge.load(ROOT, arguments.registry)
    version = arguments.version
    if version not in map(str, known.known):
        version = str(plan.select(version, known.candidates).version)
    moment = Moment(versions.engine_digest(ROOT / "value_steer"), datetime.now(timezone.utc))
    whole = replace(known.registry, rows=record.load_all(arguments.registry, version))
    story = [*explain.lines(version, whole, moment.engine_digest, moment.now)]
    story += [f"lacking: {s.text}" for s in known.shortcomings(version, moment)]
    place = "inside" if Version(version) in known.supported else "outside"
    story.append(f"extra: {place} of `vllm{derive.stated_extra(ROOT).specifier}`")
    for line in (*story, *compat_story.told(version)):
        progress.console.print(line, markup=False)
    return ExitCode.PASSED


def rechecking(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Withdraw what the package index has yanked."""
    rows = record.load(arguments.registry)
    found = recheck.recheck(rows)
    record.append(arguments.registry, found.withdrawn)
    for row in found.withdrawn:
        progress.problem(f"{name(row)} now says withdrawn: {row.reason}")
    for wheel in found.unlisted:
        progress.note(f"{wheel} is no longer listed; nothing was concluded from that")
    progress.note(f"{len(found.withdrawn)} rows withdrawn")
    return ExitCode.FAILED if found.withdrawn else ExitCode.PASSED


def gating(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Say everything that keeps the gate shut."""
    planned = actions.load(arguments.plan) if arguments.plan else ()
    found = gate.examine(ROOT, arguments.registry, planned)
    for note in found.waived:
        progress.note(note)
    for obstacle in found.obstacles:
        progress.problem(obstacle)
    progress.note("the gate is open" if found.is_open else "the gate is shut")
    return ExitCode.PASSED if found.is_open else ExitCode.FAILED


def deriving(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Generate what follows from the registry, or say what has drifted."""
    known = knowledge.load(ROOT, arguments.registry)
    work = derive.drift if arguments.check else derive.write
    changed = work(ROOT, known)
    for path in changed:
        name = path.relative_to(ROOT)
        if arguments.check:
            progress.problem(f"{name} has drifted; `python -m compat derive` writes it anew")
        else:
            progress.note(f"{name} written" if path.exists() else f"{name} removed")
    if not changed:
        progress.note("nothing has drifted")
    return ExitCode.FAILED if arguments.check and changed else ExitCode.PASSED


def importing(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Keep the entries of a flat registry as claims that count for nothing."""
    claims = flat_registry.read(arguments.file)
    record.append(arguments.registry, (), claims)
    progress.note(f"{len(claims)} claims kept in {arguments.registry}; none counts as evidence")
    return ExitCode.PASSED
