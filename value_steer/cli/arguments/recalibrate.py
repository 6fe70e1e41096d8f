"""Options of ``value-steer recalibrate``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand
from value_steer.cli.arguments.types import COUNT, LEVEL, PATH
from value_steer.cli.places import FILE, FOLDER, NEW_FILE

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator
    from pathlib import Path


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "traffic", type=PATH, help="folder of the files that servers recorded (record.directory)"
    )
    command.add_argument(
        "--head", type=PATH, required=True, metavar="FILE", help="the head that they served with"
    )
    command.add_argument(
        "--fail-on-drift",
        action="store_true",
        help="exit with status 1 if the head acts more or less often than it was calibrated to",
    )
    command.add_argument("--json", action="store_true", help="print what was found as JSON")
    _add_renewal(command)
    _add_rule(command)


def _add_renewal(command: ArgumentParser) -> None:
    renewal = command.add_argument_group("a new calibration")
    renewal.add_argument(
        "--labels",
        type=PATH,
        metavar="FILE",
        help='how good answers are, by the id of their request: {"id": "…", "label": 0 to 1}',
    )
    renewal.add_argument(
        "--out", type=PATH, metavar="FILE", help="with --labels: the trajectories made of both"
    )
    renewal.add_argument(
        "--alpha",
        type=LEVEL,
        help="with --labels: the level whose threshold becomes the head's own (default: 0.05)",
    )
    renewal.add_argument(
        "--write",
        action="store_true",
        help="replace the head's sidecar; without labels only its target_rate curve",
    )


def _add_rule(command: ArgumentParser) -> None:
    rule = command.add_argument_group("how abstention will be configured (default: as recorded)")
    rule.add_argument("--min-tokens", type=COUNT, help="first response token that it judges")
    rule.add_argument("--patience", type=COUNT, help="consecutive low tokens that end a response")


def _problems(options: Namespace) -> Iterator[str]:
    if (options.labels is None) != (options.out is None):
        yield "give --labels and --out together: labels make trajectories, which are kept there"
    if options.alpha is not None and options.labels is None:
        yield "--alpha belongs to --labels; without them no default threshold can be made"
    if (options.min_tokens is None) != (options.patience is None):
        yield "give --min-tokens and --patience together"
    if options.out is not None and _is_inside(options.out, options.traffic):
        yield f"--out {options.out}: only what servers recorded belongs there; write elsewhere"


def _is_inside(file: Path, folder: Path) -> bool:
    return os.path.realpath(file.parent) == os.path.realpath(folder)


SUBCOMMAND = Subcommand(
    "recalibrate",
    "compare a head's calibration with recorded traffic, and make a new one from it",
    (
        "value-steer recalibrate traffic --head vhead.safetensors --fail-on-drift",
        "value-steer recalibrate traffic --head vhead.safetensors --labels labels.jsonl "
        "--out traffic.trajectories.jsonl",
        "value-steer recalibrate traffic --head vhead.safetensors --write",
    ),
    _add,
    {"traffic": FOLDER, "--head": FILE, "--labels": FILE, "--out": NEW_FILE},
    _problems,
)
