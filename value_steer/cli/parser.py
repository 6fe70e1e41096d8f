"""The parser of ``value-steer``; it imports nothing that a subcommand needs to run."""

from __future__ import annotations

import argparse
from functools import cache

from value_steer import __version__
from value_steer.cli.arguments import (
    calibrate,
    capture,
    convert,
    demo,
    doctor,
    evaluate,
    label,
    recalibrate,
    train,
)
from value_steer.cli.one_line import Parser

SUBCOMMANDS = (
    capture.SUBCOMMAND,
    label.SUBCOMMAND,
    train.SUBCOMMAND,
    convert.SUBCOMMAND,
    calibrate.SUBCOMMAND,
    recalibrate.SUBCOMMAND,
    evaluate.SUBCOMMAND,
    demo.SUBCOMMAND,
    doctor.SUBCOMMAND,
)
"""In the order in which they are used."""


@cache
def build() -> Parser:
    """The parser with every subcommand."""
    parser = Parser(
        prog="value-steer",
        description="From labels to a calibrated value head, and what it is worth.",
        epilog="Exit code: 0 done; 1 it failed; 2 wrong usage. COMMAND --help shows examples.",
    )
    parser.add_argument("--version", action="version", version=f"value-steer {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for subcommand in SUBCOMMANDS:
        own = commands.add_parser(
            subcommand.name,
            help=subcommand.summary,
            description=f"{subcommand.summary[0].upper()}{subcommand.summary[1:]}.",
            epilog="\n  ".join(("examples:", *subcommand.examples)),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subcommand.add(own)
        own.set_defaults(subcommand=subcommand)
    return parser
