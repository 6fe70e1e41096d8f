"""Options of ``value-steer calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.numbers import count, seed, share
from value_steer.cli.arguments.subcommand import Subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "trajectories",
        type=Path,
        nargs="?",
        help="the head's values on responses of the unsteered model",
    )
    command.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="captured states to score instead, of the prompts that train left for this",
    )
    command.add_argument("--labels", metavar="NAME", help="with --features: which labels")
    command.add_argument(
        "--head", type=Path, required=True, metavar="FILE", help="the head; its sidecar is replaced"
    )
    command.add_argument(
        "--training-prompts",
        type=Path,
        metavar="FILE",
        help="the prompt ids that the head was trained on (default: the file beside the head)",
    )
    command.add_argument(
        "--seed", type=seed, default=0, help="of the choice among several responses"
    )
    command.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.svg",
        help="draw what each level costs, its threshold, and single responses (.svg, .png, .pdf)",
    )
    command.add_argument(
        "--strict", action="store_true", help="fail where a warning would be given"
    )
    _add_bounds(command)
    _add_rule(command)


def _add_bounds(command: ArgumentParser) -> None:
    bounds = command.add_argument_group("bounds on acting on a good response")
    bounds.add_argument(
        "--alpha",
        type=share,
        default=0.05,
        help="the one whose threshold becomes the head's own (default: %(default)s)",
    )
    bounds.add_argument(
        "--levels", type=share, nargs="+", metavar="ALPHA", help="all of the head's curve"
    )
    bounds.add_argument(
        "--confidence",
        type=share,
        help="hold for this calibration set with that probability, not on average over sets",
    )


def _add_rule(command: ArgumentParser) -> None:
    rule = command.add_argument_group("how abstention will be configured")
    rule.add_argument(
        "--min-tokens", type=count, default=1, help="first response token that it judges"
    )
    rule.add_argument(
        "--patience",
        type=count,
        default=1,
        help="consecutive low tokens that end a response",
    )


SUBCOMMAND = Subcommand(
    "calibrate",
    "choose thresholds on held-out responses and write them into a head's sidecar",
    (
        "value-steer calibrate --features features --labels safety --head vhead.safetensors",
        "value-steer calibrate trajectories.jsonl --head vhead.safetensors --alpha 0.01 --strict",
        "value-steer calibrate trajectories.jsonl --head vhead.safetensors --plot head.svg",
    ),
    _add,
)
