"""Options of ``value-steer train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.numbers import amount, count, seed, share
from value_steer.cli.arguments.subcommand import Subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "features", type=Path, metavar="FEATURES", help="folder of captured states"
    )
    command.add_argument(
        "--labels", required=True, metavar="NAME", help="which labels: the name that label printed"
    )
    command.add_argument(
        "--recipe",
        required=True,
        choices=("abstention", "filtering"),
        help="abstention: a head of P(good), BCE; filtering: a head of P(undesirable), focal loss",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("vhead.safetensors"),
        metavar="FILE",
        help="the head (default: %(default)s); a killed run is taken up from FILE.state",
    )
    command.add_argument("--device", default="cpu", help="where to train (default: %(default)s)")
    _add_data(command)
    _add_recipe(command)


def _add_data(command: ArgumentParser) -> None:
    data = command.add_argument_group("which prompts train; whole prompts are split")
    data.add_argument(
        "--calibration-share",
        type=share,
        default=0.2,
        metavar="SHARE",
        help="left for calibrate (default: %(default)s)",
    )
    data.add_argument(
        "--validation-share",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="of the others, ends the training early (default: %(default)s)",
    )
    data.add_argument("--seed", type=seed, default=0, help="of split, weights, order and dropout")


def _add_recipe(command: ArgumentParser) -> None:
    recipe = command.add_argument_group("instead of the recipe's")
    recipe.add_argument("--architecture", choices=("three_layer", "two_layer"), help="layers")
    recipe.add_argument("--loss", choices=("focal", "bce", "mse"))
    recipe.add_argument("--epochs", type=count, help="passes over the data at most")
    recipe.add_argument("--learning-rate", type=amount, metavar="RATE")
    recipe.add_argument("--batch-size", type=count, default=128, metavar="RESPONSES")
    recipe.add_argument(
        "--prompt-position",
        action="store_true",
        help="train at the end of the prompt too, which the martingale rule needs",
    )


SUBCOMMAND = Subcommand(
    "train",
    "train a value head on captured hidden states and labels",
    (
        "value-steer train features --labels safety --recipe filtering",
        "value-steer train features --labels maths --recipe abstention --architecture two_layer",
    ),
    _add,
)
