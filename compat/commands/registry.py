"""``registry``, ``explain``, ``recheck`` and ``import-registry``: the evidence that is there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from compat.checkout import ROOT
from compat.errors import ExitCode
from compat.registry import flat, recheck, store, tables
from compat.release import derive, inventory
from compat.release.gaps import Moment, name
from compat.releases.candidates import select_release
from value_steer import versions
from value_steer.cli.arguments.types import PATH, VERSION
from value_steer.cli.places import FILE
from value_steer.contracts.history import story
from value_steer.registry import explain

if TYPE_CHECKING:
    import argparse

    from compat.commands.options import Menu
    from compat.console import Progress


def add(menu: Menu) -> None:
    """Put the commands on the menu."""
    registry = menu.add_parser("registry", help="validate and show the registry")
    registry.set_defaults(command=show_registry)
    explaining = menu.add_parser("explain", help="all that is known about one release of vLLM")
    explaining.add_argument("version", type=VERSION, help="a release (0.28.0) or a series")
    explaining.set_defaults(command=explain_release)
    rechecking = menu.add_parser("recheck", help="ask the index whether tested wheels were yanked")
    rechecking.set_defaults(command=recheck_index)
    importing = menu.add_parser("import-registry", help="keep the claims of a flat registry")
    importing.add_argument("file", type=PATH, help='{"0.19.1": {"result": "pass", …}, …}')
    importing.set_defaults(command=import_claims, places={"file": FILE})


def show_registry(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate the registry and show what it says of the code in this checkout."""
    rows, past = store.load(arguments.registry), store.load_history(arguments.registry)
    digest = versions.engine_digest(ROOT / "value_steer")
    progress.console.print(tables.registry_table(rows, digest))
    older = len(set(past) - set(rows))
    progress.note(f"{len(rows)} rows and {older} older ones in the history, all valid")
    return ExitCode.PASSED


def explain_release(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Tell what the registry knows about a release, and what it lacks for the extra."""
    known = inventory.load(ROOT, arguments.registry)
    version = arguments.version
    if version not in map(str, known.known):
        version = str(select_release(version, known.candidates).version)
    moment = Moment(versions.engine_digest(ROOT / "value_steer"), datetime.now(timezone.utc))
    whole = replace(known.registry, rows=store.load_all(arguments.registry, version))
    lines = [*explain.lines(version, whole, moment.engine_digest, moment.now)]
    lines += [f"lacking: {gap.text}" for gap in known.gaps(version, moment)]
    place = "inside" if Version(version) in known.supported else "outside"
    lines.append(f"extra: {place} of `vllm{derive.stated_extra(ROOT).specifier}`")
    for line in (*lines, *story.told(version)):
        progress.console.print(line, markup=False)
    return ExitCode.PASSED


def recheck_index(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Withdraw what the package index has yanked."""
    rows = store.load(arguments.registry)
    found = recheck.recheck(rows)
    store.append(arguments.registry, found.withdrawn)
    for row in found.withdrawn:
        progress.problem(f"{name(row)} now says withdrawn: {row.reason}")
    for wheel in found.unlisted:
        progress.note(f"{wheel} is no longer listed; nothing was concluded from that")
    progress.note(f"{len(found.withdrawn)} rows withdrawn")
    return ExitCode.FAILED if found.withdrawn else ExitCode.PASSED


def import_claims(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Keep the entries of a flat registry as claims that count for nothing."""
    claims = flat.read(arguments.file)
    store.append(arguments.registry, (), claims)
    progress.note(f"{len(claims)} claims kept in {arguments.registry}; none counts as evidence")
    return ExitCode.PASSED
