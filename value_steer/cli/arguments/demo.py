"""Options of ``value-steer demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand
from value_steer.cli.arguments.types import LEVEL, PATH, SEED
from value_steer.cli.places import OUTPUT_FOLDER

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "--out",
        type=PATH,
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
        type=LEVEL,
        default=0.05,
        help="bound on the share of good texts that value filtering touches (default: %(default)s)",
    )
    command.add_argument("--seed", type=SEED, default=0, help="of everything")


SUBCOMMAND = Subcommand(
    "demo",
    "train, calibrate and serve on a task whose true values are known; downloads nothing",
    ("value-steer demo", "value-steer demo --backend reference --alpha 0.1 --out here"),
    _add,
    {"--out": OUTPUT_FOLDER},
)
