"""Options of ``value-steer demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.numbers import seed, share
from value_steer.cli.arguments.subcommand import Subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "--out",
        type=Path,
        default=Path("value-steer-demo"),
        metavar="DIR",
        help="folder for the model, the head and the picture (default: %(default)s)",
    )
    command.add_argument(
        "--backend",
        choices=("vllm", "reference"),
        help="what serves (default: vllm where it is installed)",
    )
    command.add_argument(
        "--alpha",
        type=share,
        default=0.05,
        help="bound on the share of good texts that value filtering touches (default: %(default)s)",
    )
    command.add_argument("--seed", type=seed, default=0, help="of everything")


SUBCOMMAND = Subcommand(
    "demo",
    "train, calibrate and serve on a task whose true values are known; downloads nothing",
    ("value-steer demo", "value-steer demo --backend reference --alpha 0.1 --out here"),
    _add,
)
