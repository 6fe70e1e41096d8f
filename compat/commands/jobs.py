"""``record`` and ``rehearse``: the matrix as parallel jobs, and what comes back of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compat.checkout import ROOT
from compat.commands.options import add_isolation, add_releases, cells
from compat.errors import ExitCode
from compat.registry import fragments, tables
from compat.release import derive, inventory, rehearsal
from compat.releases import matrix
from value_steer.cli.arguments.types import PATH, POSITIVE, TEXT
from value_steer.cli.places import FILE, FOLDER, OUTPUT_FOLDER

if TYPE_CHECKING:
    import argparse

    from compat.commands.options import Menu
    from compat.console import Progress


def add(menu: Menu) -> None:
    """Put the commands on the menu."""
    rehearse = menu.add_parser("rehearse", help="the whole matrix here, one job killed")
    add_releases(rehearse, nargs="+")
    rehearse.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="which cells")
    add_isolation(rehearse)
    rehearse.add_argument(
        "--kill", type=TEXT, metavar="NAME", help="the cell to kill; the last by default"
    )
    rehearse.add_argument("--kill-after", type=POSITIVE, default=60, metavar="SECONDS")
    rehearse.add_argument("--out", type=PATH, default=Path("out/rehearsal"), help="folder for it")
    rehearse.set_defaults(command=rehearse_matrix, places={"--out": OUTPUT_FOLDER})
    record = menu.add_parser("record", help="merge the fragments of parallel jobs")
    record.add_argument("fragments", type=PATH, help="folder that holds them, however deep")
    record.add_argument("--plan", type=PATH, help="what plan printed: a cell without rows shows")
    record.set_defaults(command=record_fragments, places={"fragments": FOLDER, "--plan": FILE})


def record_fragments(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Merge the fragments of parallel jobs; a planned cell that sent none is no evidence."""
    planned = matrix.load(arguments.plan) if arguments.plan else None
    merged = fragments.merge(arguments.registry, arguments.fragments, planned)
    for problem in (*merged.problems, *(f"{r.reason} ({r.cell.mode})" for r in merged.lost)):
        progress.problem(problem)
    if arguments.registry == ROOT / inventory.REGISTRY:
        derive.write(ROOT, inventory.load(ROOT))
    progress.note(f"{len(merged.rows)} rows from jobs, {len(merged.lost)} for what is missing")
    return ExitCode.NO_EVIDENCE if merged.lost or merged.problems else ExitCode.PASSED


def rehearse_matrix(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Run the whole matrix for some releases here, with one job killed on purpose."""
    chosen = cells(arguments)
    out = arguments.out.resolve()
    killed = arguments.kill or chosen[-1].name
    plan = rehearsal.Rehearsal(chosen, killed, arguments.kill_after, arguments.registry, out)
    processes = rehearsal.Processes(arguments.isolation, out / "work")
    result = rehearsal.rehearse(plan, processes, progress)
    progress.console.print(tables.run_table(result.rows))
    for obstacle in result.obstacles:
        progress.note(f"the gate is shut: {obstacle}")
    for fault in result.faults:
        progress.problem(fault)
    return ExitCode.FAILED if result.faults else ExitCode.PASSED
