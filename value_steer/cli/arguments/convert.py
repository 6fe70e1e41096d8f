"""Options of ``value-steer convert``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand
from value_steer.cli.arguments.types import PATH, TEXT
from value_steer.cli.places import FILE, HEAD_FILE

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "file",
        type=PATH,
        help=".npz with coef_ and intercept_, or .safetensors, .pt, .pth, .bin with linear layers",
    )
    command.add_argument(
        "--out", type=PATH, required=True, metavar="FILE", help="the head: .safetensors, .pt, .bin"
    )
    command.add_argument(
        "--scores",
        choices=("p_good", "p_undesirable"),
        help="what a high score means: the event that was labelled 1",
    )
    command.add_argument(
        "--activation",
        choices=("tanh", "relu", "tanh-relu"),
        help="what follows the inner layers, where there are two or three",
    )
    command.add_argument(
        "--backbone", type=TEXT, metavar="NAME", help="the model that it was trained on"
    )


SUBCOMMAND = Subcommand(
    "convert",
    "make another package's head one of ours",
    (
        "value-steer convert probe.npz --out vhead.safetensors --scores p_undesirable",
        "value-steer convert value_head.bin --out vhead.safetensors --scores p_good",
        "value-steer convert mlp.pt --out vhead.safetensors --scores p_good --activation relu",
    ),
    _add,
    {"file": FILE, "--out": HEAD_FILE},
)
