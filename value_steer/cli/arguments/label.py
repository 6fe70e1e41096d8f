"""Options of ``value-steer label``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand
from value_steer.cli.arguments.types import COUNT, PATH, PATTERN, SHARE, TEXT, URL
from value_steer.cli.places import FILE, OWN_FEATURES

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "features", type=PATH, metavar="FEATURES", help="folder of captured states"
    )
    command.add_argument(
        "--by",
        required=True,
        choices=("safety", "helpfulness", "maths", "exact", "regex", "column"),
        help="safety, helpfulness: a judge's word; maths, exact: against the reference; regex: "
        "whether a pattern is found; column: labels that are there already",
    )
    command.add_argument(
        "--name", type=TEXT, help="of the labels (default: that of the question or column)"
    )
    command.add_argument(
        "--again",
        action="store_true",
        help="make labels anew that are there; else those made otherwise are refused",
    )
    command.add_argument(
        "--max-unreadable",
        type=SHARE,
        default=0.02,
        metavar="SHARE",
        help="of responses whose verdict may be unreadable (default: %(default)s)",
    )
    _add_judge(command)
    pattern = command.add_argument_group("the pattern")
    pattern.add_argument("--pattern", type=PATTERN, help="in Python's syntax")
    pattern.add_argument("--bad", action="store_true", help="a match means a bad response")
    column = command.add_argument_group("the column")
    column.add_argument(
        "--file", type=PATH, help="rows with prompt_id, sample and the column, from 0 to 1"
    )
    column.add_argument(
        "--column", type=TEXT, default="label", help="its name (default: %(default)s)"
    )


def _add_judge(command: ArgumentParser) -> None:
    judge = command.add_argument_group("the judge, behind an OpenAI-compatible endpoint")
    judge.add_argument("--url", type=URL, help="of the endpoint; it ends in /v1")
    judge.add_argument("--model", type=TEXT, help="that judges (default: the first that is served)")
    judge.add_argument(
        "--concurrency", type=COUNT, default=16, help="questions at a time (default: %(default)s)"
    )
    judge.add_argument(
        "--max-tokens",
        type=COUNT,
        default=256,
        help="of an answer; a model that reasons needs many (default: %(default)s)",
    )
    judge.add_argument(
        "--form",
        choices=("auto", "choice", "json", "logprobs", "free"),
        default="auto",
        help="how it is held to two words; auto: the strictest that the server takes (default)",
    )


def _problems(options: Namespace) -> Iterator[str]:
    if options.by in JUDGED and options.url is None:
        yield f"--by {options.by} needs a judge's URL: --url http://…/v1"
    for name, users in _BELONGING.items():
        if getattr(options, name) is not None and options.by not in users:
            yield f"--{name} belongs to --by {' or '.join(users)}"
    if options.by == "regex" and options.pattern is None:
        yield "--by regex needs a pattern: --pattern"
    if options.by == "column" and options.file is None:
        yield "--by column needs a file of rows: --file"


JUDGED = ("safety", "helpfulness")
_BELONGING = {"url": JUDGED, "model": JUDGED, "pattern": ("regex",), "file": ("column",)}

SUBCOMMAND = Subcommand(
    "label",
    "say of every captured response how good it is",
    (
        "value-steer label features --by safety --url http://localhost:8000/v1",
        "value-steer label features --by maths",
        "value-steer label features --by regex --pattern '(?i)password' --bad",
    ),
    _add,
    {"features": OWN_FEATURES, "--file": FILE},
    _problems,
)
