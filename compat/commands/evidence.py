"""Commands that read the registry, what follows from it, and whether it backs a release."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from compat import (
    actions,
    derive,
    flat_registry,
    gate,
    knowledge,
    package,
    plan,
    recheck,
    record,
    report,
)
from compat.errors import ExitCode
from compat.product import ROOT
from compat.standing import Moment, name
from value_steer import compat_story, explain, versions

if TYPE_CHECKING:
    import argparse

    from compat.progress import Progress


def registry(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate the registry and show what it says of the code in this checkout."""
    rows = record.load(arguments.registry)
    digest = versions.engine_digest(ROOT / "value_steer")
    progress.console.print(report.registry_table(rows, digest))
    progress.note(f"{len(rows)} rows, all valid")
    return ExitCode.PASSED


def explaining(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Tell what the registry knows about a release, and what it lacks for the extra."""
    known = knowledge.load(ROOT, arguments.registry)
    version = arguments.version
    if version not in map(str, known.known):
        version = str(plan.select(version, known.candidates).version)
    moment = Moment(versions.engine_digest(ROOT / "value_steer"), datetime.now(timezone.utc))
    story = [*explain.lines(version, known.registry, moment.engine_digest, moment.now)]
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


def building(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Build both distributions, reproducibly, if the gate lets them pass."""
    for path in package.build(arguments.out):
        progress.note(f"{path}, {path.stat().st_size / 1024:.0f} KiB, the same bytes twice")
    return ExitCode.PASSED
