"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from compat.axes import ASKED_ISOLATIONS
from compat.errors import UsageError
from compat.releases import matrix
from compat.releases.candidates import select_release
from value_steer.cli.arguments.types import PATH, VERSION

if TYPE_CHECKING:
    import argparse

    from compat.cell.services import Services
    from compat.releases.matrix import PlannedCell

# argparse has no public name for what add_subparsers returns.
Menu: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def add_place(command: argparse.ArgumentParser) -> None:
    """Where cells are run."""
    add_isolation(command)
    command.add_argument(
        "--out", type=PATH, default=Path("out"), help="folder for logs and reports"
    )


def add_isolation(command: argparse.ArgumentParser) -> None:
    """Add the choice of the isolation that keeps vLLM apart from everything else."""
    command.add_argument(
        "--isolation",
        choices=ASKED_ISOLATIONS,
        default="auto",
        help="where vLLM is installed; auto: a container if a Docker daemon answers",
    )


def add_async(command: argparse.ArgumentParser) -> None:
    """How the host schedules."""
    command.add_argument(
        "--async",
        dest="asynchronous",
        action="store_true",
        help="make vLLM schedule asynchronously on a CPU, as it does on a GPU by default",
    )


def add_releases(command: argparse.ArgumentParser, *, nargs: str = "*") -> None:
    """Which releases a command is about."""
    every = "; all if there are none" if nargs == "*" else ""
    command.add_argument("versions", type=VERSION, nargs=nargs, help=f"series or releases{every}")


def cells(arguments: argparse.Namespace) -> tuple[PlannedCell, ...]:
    """The cells of the devices and releases that are asked for.

    Raises:
        UsageError: There are none.
    """
    services: Services = arguments.services
    candidates = services.candidates()
    planned = matrix.planned(candidates, services.rules().cells)
    exact = {str(select_release(wanted, candidates).version) for wanted in arguments.versions}
    chosen = [c for c in planned if arguments.device in (None, c.device)]
    if found := tuple(c for c in chosen if not exact or c.vllm in exact):
        return found
    msg = "the plan is empty: the policy has no cell of this device and these releases"
    raise UsageError(msg)
