"""``gpu``: the newest release that this machine's GPU runs, in every way, tested and measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compat import lanes
from compat.commands.options import add_place
from compat.commands.run import EXIT_CODES, GRAVITY
from compat.errors import ExitCode, UsageError
from compat.registry import tables
from compat.release import variants
from compat.releases import fitting
from compat.releases.candidates import select_release
from value_steer.cli.arguments.types import PATH, VERSION
from value_steer.cli.places import FOLDER, OUTPUT_FOLDER

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from rich.table import Table

    from compat.cell.services import Services
    from compat.commands.options import Menu
    from compat.console import Progress
    from compat.release.variants import Summary, VariantResult
    from compat.releases.candidates import Candidate

_SHOWN = 16
"""Requests at a time, of the ratio in the table; without objections."""


def add(menu: Menu) -> None:
    """Put the command on the menu."""
    command = menu.add_parser("gpu", help="all that a machine with a GPU can show, in one folder")
    command.add_argument(
        "--vllm", type=VERSION, help="the release; by default the newest that the driver runs"
    )
    command.add_argument(
        "--wheels", type=PATH, metavar="DIR", help="install from this folder, without a network"
    )
    command.add_argument(
        "--sync-check",
        choices=("error", "warn", "off"),
        default="warn",  # filtering waits by design, and an error would end the engine at its boot
        help="what vLLM (0.25 and later) does where a step waits for the GPU",
    )
    command.add_argument("--dry-run", action="store_true", help="the same on a CPU; needs --vllm")
    add_place(command)
    # Nothing but Python is needed on that machine.
    command.set_defaults(
        isolation="venv", command=run_gpu, places={"--out": OUTPUT_FOLDER, "--wheels": FOLDER}
    )


def run_gpu(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Test and measure a release in every way that this machine can run it."""
    session = _session(arguments)
    if arguments.wheels is not None:
        # Whatever resolves or installs below asks pip's own settings.
        folder = arguments.wheels.resolve().as_uri()
        os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=folder)
    place = f"{session.gpus} GPUs, lane {session.lane}, driver {session.driver}"
    progress.note(f"vLLM {session.vllm} on {place if session.gpus else 'a CPU'}")
    summary = variants.run(session, arguments.services, progress)
    progress.console.print()
    progress.console.print(table(summary))
    for outcome in summary.outcomes:
        for text in _reasons(outcome):
            progress.note(f"{outcome.title}: {text}")
    progress.note(f"everything is in {session.folder}")
    progress.note(f"to record it: nox -s record -- {session.folder}")
    return min((code for o in summary.outcomes for code in _codes(o)), key=GRAVITY.index)


def _session(arguments: argparse.Namespace) -> variants.Session:
    """The session to run.

    Raises:
        UsageError: There is no GPU, or it cannot be told which release fits.
    """
    services: Services = arguments.services
    lane = lanes.CPU if arguments.dry_run else services.device()
    gpus = None if lane == lanes.CPU else services.gpus()
    if gpus is None or not gpus.count:
        if not arguments.dry_run:
            msg = "nvidia-smi shows no GPU here that CUDA may use; --dry-run --vllm 0.28 needs none"
            raise UsageError(msg)
        gpus = None
    candidate = _candidate(arguments, lane, gpus.driver if gpus else None)
    workspace: Path = arguments.out.resolve()
    return variants.Session(
        vllm=str(candidate.version),
        variants=(variants.ON_GPUS if gpus else (*variants.ON_A_CPU, *variants.ON_GPUS)),
        lane=lane,
        gpus=gpus.count if gpus else 0,
        driver=gpus.driver if gpus else None,
        isolation=arguments.isolation,
        sync_check=None if arguments.sync_check == "off" else arguments.sync_check,
        workspace=workspace,
        folder=workspace / "gpu" / str(candidate.version),
    )


def _candidate(arguments: argparse.Namespace, lane: str, driver: str | None) -> Candidate:
    services: Services = arguments.services
    candidates = services.candidates()
    if arguments.vllm is None:
        if driver is None:
            msg = (
                "--dry-run: no driver says which release is meant; add --vllm, such as --vllm 0.28"
            )
            raise UsageError(msg)
        return fitting.newest(candidates, fitting.Machine(lane, driver), arguments.wheels)
    candidate = select_release(arguments.vllm, candidates)
    if arguments.wheels is not None:
        fitting.require_wheel(candidate, lanes.family(lane), arguments.wheels)
    return candidate


def table(summary: Summary) -> Table:
    """A line per variant and mode."""
    shown = tables.plain("variant", "mode", "verdict", "tests", "control", "seconds", "ratio")
    for outcome in summary.outcomes:
        if outcome.skipped or not outcome.modes:
            shown.add_row(
                outcome.title, "", f"skipped: {outcome.skipped}" if outcome.skipped else "not run"
            )
        for i, mode in enumerate(outcome.modes):
            seconds = f"{outcome.seconds:.0f}" if outcome.seconds is not None else ""
            shown.add_row(
                "" if i else outcome.title,
                mode.mode,
                tables.verdict(mode.verdict, mode.cause),
                f"{mode.passed}/{mode.expected}",
                tables.CONTROLS[mode.control],
                "" if i else seconds,
                _ratio(outcome, mode.mode, on_gpus=summary.gpus > 0),
            )
    return shown


def _ratio(outcome: VariantResult, mode: str, *, on_gpus: bool) -> str:
    """The ratio of wall time on a GPU; of processor time on a CPU, which others use too."""
    for ratio in outcome.ratios:
        if (ratio.mode, ratio.objections, ratio.requests) == (mode, 0, _SHOWN):
            return f"{ratio.wall if on_gpus else ratio.processor:.2f}"
    return ""


def _reasons(outcome: VariantResult) -> list[str]:
    told = dict.fromkeys(mode.reason for mode in outcome.modes if mode.reason)
    return [*told, *(problem.text for problem in outcome.problems)]


def _codes(outcome: VariantResult) -> list[ExitCode]:
    return [
        *(EXIT_CODES[mode.verdict] for mode in outcome.modes),
        *(problem.status for problem in outcome.problems),
    ]
