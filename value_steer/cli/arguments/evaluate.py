"""Options of ``value-steer evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    _add_abstention(command)
    _add_steering(command)
    command.add_argument("--seed", type=int, default=0, help="of splits and resampling")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("evaluation"),
        metavar="DIR",
        help="folder for report.html and report.json (default: %(default)s)",
    )


def _add_abstention(command: ArgumentParser) -> None:
    group = command.add_argument_group("abstention, replayed on finished responses")
    group.add_argument(
        "--trajectories",
        type=Path,
        metavar="FILE",
        help="the head's values along responses of the unsteered model",
    )
    group.add_argument(
        "--columns",
        type=Path,
        metavar="FILE",
        help="self-assessments and confidences of the same responses, line for line",
    )
    group.add_argument(
        "--steps",
        type=int,
        nargs="+",
        default=[1, 20],
        metavar="TOKENS",
        help="where the fixed-step probes look (default: 1 20)",
    )
    group.add_argument(
        "--window",
        type=int,
        default=16,
        metavar="TOKENS",
        help="tokens of a confidence group (default: %(default)s)",
    )
    group.add_argument(
        "--min-tokens", type=int, default=1, help="first response token that is judged"
    )


def _add_steering(command: ArgumentParser) -> None:
    group = command.add_argument_group("steered decoding")
    group.add_argument(
        "--generations",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="judged responses of several ways to decode, to the same prompts",
    )
    group.add_argument(
        "--base", default="base", help="name of the unsteered way (default: %(default)s)"
    )


SUBCOMMAND = Subcommand(
    "evaluate",
    "compare stop rules and ways to decode, and write one report",
    (
        "value-steer evaluate --trajectories trajectories.jsonl --out report",
        "value-steer evaluate --trajectories t.jsonl --columns baselines.jsonl --steps 1 20 100",
        "value-steer evaluate --generations base.jsonl vfd.jsonl",
    ),
    _add,
)
