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
    command.add_argument("--json", action="store_true", help="print the checks as JSON")


SUBCOMMAND = Subcommand(
    "doctor",
    "say what would not work here and what to do: packages, vLLM, evidence, a head",
    (
        "value-steer doctor",
        "value-steer doctor --head vhead.safetensors --model ./my-model",
        "value-steer doctor --json",
    ),
    _add,
    {"--head": FILE, "--model": MODEL},
)
