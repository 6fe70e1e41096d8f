"""``flakes``: the suite of one cell many times, to find the tests that do not always pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.cell import flakes
from compat.cell.resolution import resolve
from compat.commands.run import add_cell, request_of
from compat.errors import ExitCode
from compat.release import sweep
from value_steer.cli.arguments.types import COUNT, VERSION
from value_steer.cli.places import OUTPUT_FOLDER

if TYPE_CHECKING:
    import argparse

    from compat.commands.options import Menu
    from compat.console import Progress


def add(menu: Menu) -> None:
    """Put the command on the menu."""
    command = menu.add_parser("flakes", help="run the suite of a cell many times")
    command.add_argument("version", type=VERSION, help="a series (0.28) or a release (0.28.0)")
    command.add_argument("--times", type=COUNT, default=20, help="how often (default: 20)")
    command.add_argument(
        "--jobs", type=COUNT, help="runs at a time; by default two for two cores, on a GPU one"
    )
    add_cell(command)
    command.set_defaults(discard=False, command=find_flakes, places={"--out": OUTPUT_FOLDER})


def find_flakes(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Run the suite of a cell many times, and name the tests that did not always pass."""
    target = resolve(request_of(arguments, arguments.version), arguments.services)
    # A suite keeps one core busy; what keeps the other one in a cell is the control.
    jobs = arguments.jobs or 2 * sweep.at_a_time(target.lane)
    found = flakes.find(
        target, arguments.services, progress, times=arguments.times, jobs=min(jobs, arguments.times)
    )
    for why in found.lost:
        progress.note(why)
    for test, count in sorted(found.failures.items()):
        progress.note(f"{test}: did not pass in {count} of {len(found.seconds)} runs")
    progress.note(
        f"vLLM {target.vllm} on lane {target.lane}: {len(found.seconds)} of {arguments.times} runs "
        f"came to an end, {found.tests} tests each, {len(found.failures)} of them did not always "
        "pass"
    )
    return ExitCode.PASSED if found.is_clean else ExitCode.FAILED
