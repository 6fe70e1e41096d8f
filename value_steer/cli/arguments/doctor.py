"""Options of ``value-steer doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand
from value_steer.cli.arguments.types import PATH
from value_steer.cli.places import FILE, MODEL

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    command.add_argument("--head", type=PATH, metavar="FILE", help="a head to load")
    command.add_argument(
        "--model", type=PATH, metavar="DIR", help="folder of the model that it must fit"
    )


SUBCOMMAND = Subcommand(
    "doctor",
    "say what is installed, what the evidence says of it, and whether a head fits",
    (
        "value-steer doctor",
        "value-steer doctor --head vhead.safetensors --model ./my-model",
    ),
    _add,
    {"--head": FILE, "--model": MODEL},
)
