"""Options of ``value-steer label``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.numbers import count, share
from value_steer.cli.arguments.subcommand import Subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "features", type=Path, metavar="FEATURES", help="folder of captured states"
    )
    command.add_argument(
        "--by",
        required=True,
        choices=("safety", "helpfulness", "maths", "exact", "regex", "column"),
        help="safety, helpfulness: a judge's word; maths, exact: against the reference; regex: "
        "whether a pattern is found; column: labels that are there already",
    )
    command.add_argument("--name", help="of the labels (default: that of the question or column)")
    command.add_argument(
        "--again",
        action="store_true",
        help="make labels anew that are there; else those made otherwise are refused",
    )
    command.add_argument(
        "--max-unreadable",
        type=share,
        default=0.02,
        metavar="SHARE",
        help="of responses whose verdict may be unreadable (default: %(default)s)",
    )
    _add_judge(command)
    pattern = command.add_argument_group("the pattern")
    pattern.add_argument("--pattern", help="in Python's syntax")
    pattern.add_argument("--bad", action="store_true", help="a match means a bad response")
    column = command.add_argument_group("the column")
    column.add_argument(
        "--file", type=Path, help="rows with prompt_id, sample and the column, from 0 to 1"
    )
    column.add_argument("--column", default="label", help="its name (default: %(default)s)")


def _add_judge(command: ArgumentParser) -> None:
    judge = command.add_argument_group("the judge, behind an OpenAI-compatible endpoint")
    judge.add_argument("--url", help="of the endpoint; it ends in /v1")
    judge.add_argument("--model", help="that judges (default: the first that is served)")
    judge.add_argument(
        "--concurrency",
        type=count,
        default=16,
        help="questions at a time (default: %(default)s)",
    )
    judge.add_argument(
        "--max-tokens",
        type=count,
        default=256,
        help="of an answer; a model that reasons needs many (default: %(default)s)",
    )
    judge.add_argument(
        "--form",
        choices=("auto", "choice", "json", "logprobs", "free"),
        default="auto",
        help="how it is held to two words; auto: the strictest that the server takes (default)",
    )


SUBCOMMAND = Subcommand(
    "label",
    "say of every captured response how good it is",
    (
        "value-steer label features --by safety --url http://localhost:8000/v1",
        "value-steer label features --by maths",
        "value-steer label features --by regex --pattern '(?i)password' --bad",
    ),
    _add,
)
