"""Options of ``value-steer calibrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand
from value_steer.cli.arguments.types import COUNT, LEVEL, PATH, SEED, TEXT
from value_steer.cli.places import FEATURES, FILE, OWN_FILE, PICTURE

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "trajectories",
        type=PATH,
        nargs="?",
        help="the head's values on responses of the unsteered model",
    )
    command.add_argument(
        "--features",
        type=PATH,
        metavar="DIR",
        help="captured states to score instead, of the prompts that train left for this",
    )
    command.add_argument(
        "--labels", type=TEXT, metavar="NAME", help="with --features: which labels"
    )
    command.add_argument(
        "--head", type=PATH, required=True, metavar="FILE", help="the head; its sidecar is replaced"
    )
    command.add_argument(
        "--training-prompts",
        type=PATH,
        metavar="FILE",
        help="the prompt ids that the head was trained on (default: the file beside the head)",
    )
    command.add_argument(
        "--seed", type=SEED, default=0, help="of the choice among several responses"
    )
    command.add_argument(
        "--plot",
        type=PATH,
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
        type=LEVEL,
        default=0.05,
        help="the one whose threshold becomes the head's own (default: %(default)s)",
    )
    bounds.add_argument(
        "--levels", type=LEVEL, nargs="+", metavar="ALPHA", help="all of the head's curve"
    )
    bounds.add_argument(
        "--confidence",
        type=LEVEL,
        help="hold for this calibration set with that probability, not on average over sets",
    )


def _add_rule(command: ArgumentParser) -> None:
    rule = command.add_argument_group("how abstention will be configured")
    rule.add_argument(
        "--min-tokens", type=COUNT, default=1, help="first response token that it judges"
    )
    rule.add_argument(
        "--patience", type=COUNT, default=1, help="consecutive low tokens that end a response"
    )


def _problems(options: Namespace) -> Iterator[str]:
    if (options.trajectories is None) == (options.features is None):
        yield "give either a file of trajectories or --features"
    if options.features is not None and options.labels is None:
        yield "--features needs --labels, the name that label printed"
    if options.features is None and options.labels is not None:
        yield "--labels belongs to --features; trajectories have labels of their own"


SUBCOMMAND = Subcommand(
    "calibrate",
    "choose thresholds on held-out responses and write them into a head's sidecar",
    (
        "value-steer calibrate --features features --labels safety --head vhead.safetensors",
        "value-steer calibrate trajectories.jsonl --head vhead.safetensors --alpha 0.01 --strict",
        "value-steer calibrate trajectories.jsonl --head vhead.safetensors --plot head.svg",
    ),
    _add,
    {
        "trajectories": FILE,
        "--features": FEATURES,
        "--head": OWN_FILE,
        "--training-prompts": FILE,
        "--plot": PICTURE,
    },
    _problems,
)
