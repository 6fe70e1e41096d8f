"""The command line of the compatibility machine."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from compat import commands, first_bad, plan, running
from compat.errors import CompatError, ExitCode
from compat.product import ROOT
from compat.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

REGISTRY = ROOT / "validated_versions.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; what went wrong on purpose is printed, not traced."""
    arguments = _parser().parse_args(argv)
    progress = Progress()
    # A polite kill ends a run as Ctrl-C does: what was started is removed first. A shell starts
    # background jobs with Ctrl-C ignored, so that is set as well.
    for polite in (signal.SIGINT, signal.SIGTERM):
        signal.signal(polite, signal.default_int_handler)
    try:
        code: ExitCode = arguments.command(arguments, progress)
    except CompatError as error:
        progress.problem(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        progress.problem("interrupted; only what had ended is recorded, the next run does the rest")
        code = ExitCode.INTERRUPTED
    return int(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compat", description=__doc__)
    parser.add_argument("--registry", type=Path, default=REGISTRY, help="file of the evidence")
    menu = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(menu)
    _add_matrix(menu)
    _add_registry(menu)
    _add_bisect(menu)
    return parser


def _add_run(menu: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = menu.add_parser("run", help="validate value-steer on one release of vLLM")
    run.add_argument("version", help="a series (0.28) or a release (0.28.0)")
    run.add_argument("--fragment", type=Path, help="write the rows here, not into the registry")
    _add_way(run)
    run.set_defaults(command=running.run)
    sweep = menu.add_parser("sweep", help="validate it on many releases, on every lane there is")
    sweep.add_argument("versions", nargs="*", help="series or releases; all if there are none")
    sweep.add_argument(
        "--jobs", type=_positive, help="cells at a time; by default one for each core, at most four"
    )
    _add_way(sweep)
    sweep.set_defaults(command=running.sweeping, fragment=None)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _add_way(run: argparse.ArgumentParser) -> None:
    """How a cell is run."""
    _add_place(run)
    run.add_argument(
        "--runner",
        choices=("default", "v1", "v2"),
        default="default",
        help="the model runner that vLLM is made to build; v2 on a CPU runs interpreted",
    )
    run.add_argument("--lane", help="the lane that this must be (cpu, cuda-sm80), or it stops")
    run.add_argument("--force", action="store_true", help="run it whatever evidence there is")
    run.add_argument("--discard", action="store_true", help="remove the environment at the end")


def _add_matrix(menu: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    discovery = menu.add_parser("discover", help="list the releases on the package index")
    discovery.add_argument("--prereleases", action="store_true", help="pre-releases as well")
    discovery.add_argument("--candidates", type=Path, default=plan.CANDIDATES, help="file to write")
    discovery.set_defaults(command=commands.discovery)
    surveying = menu.add_parser("static", help="check the contracts of every release and record it")
    surveying.set_defaults(command=commands.surveying)
    locking = menu.add_parser("lock", help="resolve releases and keep what they come to")
    locking.add_argument("versions", nargs="*", help="series or releases; all if there are none")
    locking.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="whose build")
    locking.add_argument("--out", type=Path, default=Path("out"), help="folder for logs")
    locking.set_defaults(command=commands.locking)
    planning = menu.add_parser("plan", help="print the matrix of cells as GitHub Actions reads it")
    planning.add_argument("versions", nargs="*", help="series or releases; all if there are none")
    planning.add_argument("--device", choices=("cpu", "cuda"), help="only the cells that run there")
    planning.add_argument("--out", type=Path, help="file to write instead of printing")
    planning.add_argument(
        "--github-output", action="store_true", help="also set a step's outputs matrix and count"
    )
    planning.set_defaults(command=commands.planning)
    imaging = menu.add_parser("image", help="build the image of a release, ahead of its cells")
    imaging.add_argument("version", nargs="?", help="a series or a release; the newest if none")
    imaging.add_argument("--out", type=Path, default=Path("out"), help="folder for the log")
    imaging.set_defaults(command=commands.imaging)
    rehearsing = menu.add_parser("rehearse", help="the whole matrix here, one job killed")
    rehearsing.add_argument("versions", nargs="+", help="series or releases")
    rehearsing.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="which cells")
    _add_isolation(rehearsing)
    rehearsing.add_argument("--kill", metavar="NAME", help="the cell to kill; the last by default")
    rehearsing.add_argument("--kill-after", type=float, default=60, metavar="SECONDS")
    rehearsing.add_argument("--out", type=Path, default=Path("out/rehearsal"), help="folder for it")
    rehearsing.set_defaults(command=commands.rehearsing)
    recording = menu.add_parser("record", help="merge the fragments of parallel jobs")
    recording.add_argument("fragments", type=Path, help="folder that holds them, however deep")
    recording.add_argument("--plan", type=Path, help="what plan printed: a cell without rows shows")
    recording.set_defaults(command=commands.recording)


def _add_registry(menu: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    registry = menu.add_parser("registry", help="validate and show the registry")
    registry.set_defaults(command=commands.registry)
    explaining = menu.add_parser("explain", help="all that is known about one release of vLLM")
    explaining.add_argument("version", help="a release (0.28.0) or a series")
    explaining.set_defaults(command=commands.explaining)
    rechecking = menu.add_parser("recheck", help="ask the index whether tested wheels were yanked")
    rechecking.set_defaults(command=commands.rechecking)
    gating = menu.add_parser("gate", help="whether a release may be built, and why not")
    gating.add_argument("--plan", type=Path, help="what plan printed: each cell needs a verdict")
    gating.set_defaults(command=commands.gating)
    deriving = menu.add_parser("derive", help="generate the extra, the table, badges, the matrix")
    deriving.add_argument("--check", action="store_true", help="write nothing, say what drifted")
    deriving.set_defaults(command=commands.deriving)
    building = menu.add_parser("build", help="build both distributions twice and compare them")
    building.add_argument("--out", type=Path, default=Path("dist"), help="folder to fill anew")
    building.set_defaults(command=commands.building)
    importing = menu.add_parser("import-registry", help="keep the claims of a flat registry")
    importing.add_argument("file", type=Path, help='{"0.19.1": {"result": "pass", …}, …}')
    importing.set_defaults(command=commands.importing)


def _add_bisect(menu: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bisect = menu.add_parser("bisect", help="name the first bad release between a good and a bad")
    bisect.add_argument("--good", required=True, metavar="VERSION", help="a release that is good")
    bisect.add_argument("--bad", required=True, metavar="VERSION", help="a later one that is bad")
    bisect.add_argument("--mode", choices=("abstain", "vfd"), help="one mode; else bad in any")
    bisect.add_argument("--runner", choices=("v1", "v2"), default="v1", help="the model runner")
    bisect.add_argument("--lane", help="the lane; the one of this machine if it is not given")
    bisect.add_argument("--run", action="store_true", help="run the cells that are not known yet")
    bisect.add_argument(
        "--any-code", action="store_true", help="evidence of other code of value-steer counts too"
    )
    _add_place(bisect)
    bisect.set_defaults(command=first_bad.bisecting)


def _add_place(command: argparse.ArgumentParser) -> None:
    """Where cells are run."""
    _add_isolation(command)
    command.add_argument(
        "--out", type=Path, default=Path("out"), help="folder for logs and reports"
    )


def _add_isolation(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--isolation",
        choices=("auto", "container", "venv"),
        default="auto",
        help="where vLLM is installed; auto: a container if a Docker daemon answers",
    )
