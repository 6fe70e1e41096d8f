"""``sweep``: many cells on every lane of this machine, each recorded as soon as it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat import lanes
from compat.axes import DEFAULT
from compat.cell import pipeline
from compat.cell.resolution import lane_of
from compat.commands.options import add_releases
from compat.commands.run import GRAVITY, add_options, request_of
from compat.errors import ExitCode
from compat.registry import store
from compat.release import sweep
from compat.releases import matrix
from compat.releases.candidates import select_release
from compat.releases.policy import CellKind
from value_steer.cli.arguments.types import COUNT
from value_steer.cli.places import OUTPUT_FOLDER

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from compat.cell.services import Services
    from compat.commands.options import Menu
    from compat.console import Progress
    from compat.releases.matrix import PlannedCell


def add(menu: Menu) -> None:
    """Put the command on the menu."""
    command = menu.add_parser("sweep", help="validate it on many releases, on every lane there is")
    add_releases(command)
    command.add_argument(
        "--jobs", type=COUNT, help="cells at a time; by default one for two cores, at most four"
    )
    add_options(command)
    command.set_defaults(command=run_sweep, places={"--out": OUTPUT_FOLDER})


def run_sweep(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate many releases on every lane of this machine; each is recorded when it is done."""
    rows = store.load(arguments.registry)
    cells = sweep.ordered(_cells(arguments), rows)
    out: Path = arguments.out.resolve()
    jobs = arguments.jobs or sweep.at_a_time(cells[0].lane)
    named = dict.fromkeys(cell.lane for cell in cells)
    progress.note(f"{len(cells)} cells on {', '.join(named)}, {jobs} at a time")
    progress.note(f"in this order: {', '.join(cell.name for cell in cells)}")
    progress.note(pipeline.space(out, cells[0].lane, arguments.services))
    durations = sweep.Durations(rows)
    progress.note(_left(durations.left(cells, {}, jobs)))
    processes = sweep.Processes(
        options=_options(arguments, out),
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

    return min(sweep.run(cells, jobs, processes, tell), key=GRAVITY.index)


def _options(arguments: argparse.Namespace, out: Path) -> tuple[str, ...]:
    """The arguments of each cell's own command."""
    python = ("--python", arguments.python) if arguments.python else ()
    force = ("--force",) if arguments.force else ()
    return ("--isolation", arguments.isolation, "--out", str(out), *python, *force)


def _cells(arguments: argparse.Namespace) -> tuple[PlannedCell, ...]:
    """The cells that are asked for: of every lane of this machine, or of those that are named."""
    services: Services = arguments.services
    candidates = services.candidates()
    wanted = {select_release(name, candidates) for name in arguments.versions} or set(candidates)
    of_cpu = lanes.family(arguments.lane or "") == lanes.CPU
    known = sweep.kinds(lanes.CPU if of_cpu else services.device(), services.rules().cells)
    kinds = [kind for kind in known if _is_wanted(kind, arguments)]
    if not kinds:  # the policy has no such cell, which is no reason not to run one
        lane = lane_of(request_of(arguments, ""), services)
        kinds = [CellKind(lane, arguments.runner, since=str(candidates[0].version))]
    return matrix.planned([c for c in candidates if c in wanted], kinds)


def _is_wanted(kind: CellKind, arguments: argparse.Namespace) -> bool:
    return (
        arguments.lane in (None, kind.lane)
        and arguments.runner in (DEFAULT, kind.runner)
        and (lanes.parse(kind.lane).asynchronous or not arguments.asynchronous)
    )


def _ending(status: int) -> str:
    words = {code.value: code.name.lower().replace("_", " ") for code in ExitCode}
    return words.get(status, f"ended by signal {-status}" if status < 0 else f"status {status}")


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "how long is left is not known: nothing was timed on this lane"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min left if each is run"
