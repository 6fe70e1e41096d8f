"""``gate``, ``derive`` and ``build``: what a release needs, says and consists of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compat.checkout import ROOT
from compat.errors import ExitCode
from compat.release import derive, gate, inventory, package
from compat.releases import matrix
from value_steer.cli.arguments.types import PATH
from value_steer.cli.places import FILE, OUTPUT_FOLDER

if TYPE_CHECKING:
    import argparse

    from compat.commands.options import Menu
    from compat.console import Progress


def add(menu: Menu) -> None:
    """Put the commands on the menu."""
    gating = menu.add_parser("gate", help="whether a release may be built, and why not")
    gating.add_argument("--plan", type=PATH, help="what plan printed: each cell needs a verdict")
    gating.set_defaults(command=show_gate, places={"--plan": FILE})
    deriving = menu.add_parser("derive", help="generate the extra, the table, badges, the matrix")
    deriving.add_argument("--check", action="store_true", help="write nothing, say what drifted")
    deriving.set_defaults(command=derive_files)
    building = menu.add_parser("build", help="build both distributions twice and compare them")
    building.add_argument("--out", type=PATH, default=Path("dist"), help="folder to fill anew")
    building.set_defaults(command=build_distributions, places={"--out": OUTPUT_FOLDER})


def show_gate(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Say everything that keeps the gate shut."""
    planned = matrix.load(arguments.plan) if arguments.plan else ()
    found = gate.examine(ROOT, arguments.registry, planned)
    for note in found.waived:
        progress.note(note)
    for obstacle in found.obstacles:
        progress.problem(obstacle)
    progress.note("the gate is open" if found.is_open else "the gate is shut")
    return ExitCode.PASSED if found.is_open else ExitCode.FAILED


def derive_files(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Generate what follows from the registry, or say what has drifted."""
    known = inventory.load(ROOT, arguments.registry)
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


def build_distributions(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Build both distributions, reproducibly, if the gate lets them pass."""
    for path in package.build(arguments.out):
        progress.note(f"{path}, {path.stat().st_size / 1024:.0f} KiB, the same bytes twice")
    return ExitCode.PASSED
