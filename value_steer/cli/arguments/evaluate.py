"""Options of ``value-steer evaluate``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand
from value_steer.cli.arguments.types import (
    COUNT,
    LEVEL,
    NOT_NEGATIVE,
    PATH,
    PATTERN,
    SEED,
    SHARE,
    TEXT,
    TOP_P,
    URL,
)
from value_steer.cli.places import FILE, MODEL, OUTPUT_FOLDER

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator


DECODED = "generations.jsonl"
"""The file that ``--decode`` writes into the folder of the report."""


def _add(command: ArgumentParser) -> None:
    _add_abstention(command)
    _add_steering(command)
    _add_decoding(command)
    command.add_argument("--seed", type=SEED, default=0, help="of splits and resampling")
    command.add_argument(
        "--out",
        type=PATH,
        default=Path("evaluation"),
        metavar="DIR",
        help="folder for report.html and report.json (default: %(default)s)",
    )


def _add_abstention(command: ArgumentParser) -> None:
    group = command.add_argument_group("abstention, replayed on finished responses")
    group.add_argument(
        "--trajectories",
        type=PATH,
        metavar="FILE",
        help="the head's values along responses of the unsteered model",
    )
    group.add_argument(
        "--columns",
        type=PATH,
        metavar="FILE",
        help="self-assessments and confidences of the same responses, line for line",
    )
    group.add_argument(
        "--steps",
        type=COUNT,
        nargs="+",
        default=[1, 20],
        metavar="TOKENS",
        help="where the fixed-step probes look (default: 1 20)",
    )
    group.add_argument(
        "--window",
        type=COUNT,
        default=16,
        metavar="TOKENS",
        help="tokens of a confidence group (default: %(default)s)",
    )
    group.add_argument(
        "--min-tokens", type=COUNT, default=1, help="first response token that is judged"
    )


def _add_steering(command: ArgumentParser) -> None:
    group = command.add_argument_group("steered decoding")
    group.add_argument(
        "--generations",
        type=PATH,
        nargs="+",
        default=[],
        metavar="FILE",
        help="judged responses of several ways to decode, to the same prompts",
    )
    group.add_argument(
        "--base", type=TEXT, default="base", help="name of the unsteered way (default: %(default)s)"
    )


def _add_decoding(command: ArgumentParser) -> None:
    group = command.add_argument_group(
        "decoding, by every policy on a transformers model (small work: nothing is cached)"
    )
    group.add_argument("--decode", type=PATH, metavar="FILE", help="prompts, one object a line")
    group.add_argument("--model", type=PATH, metavar="DIR", help="folder of the model")
    group.add_argument("--head", type=PATH, metavar="FILE", help="the value head")
    group.add_argument("--threshold", type=SHARE, help="of P(undesirable); else the head's own")
    group.add_argument("--alpha", type=LEVEL, help="instead of it: through the head's calibration")
    group.add_argument(
        "--unsafe", type=PATTERN, metavar="PATTERN", help="a response that has it is unsafe"
    )
    group.add_argument("--url", type=URL, help="instead of it: a judge's endpoint; it ends in /v1")
    group.add_argument(
        "--judge", type=TEXT, metavar="NAME", help="the judge (default: the first served)"
    )
    group.add_argument(
        "--judge-max-tokens", type=COUNT, default=256, help="of its answer (default: %(default)s)"
    )
    group.add_argument("--concurrency", type=COUNT, default=8, help="requests to it at a time")
    group.add_argument("--candidates", type=COUNT, default=8, help="draws per token at most")
    group.add_argument(
        "--best-of", type=COUNT, default=8, metavar="N", help="responses of best of N"
    )
    group.add_argument("--max-tokens", type=COUNT, default=64, help="of a response")
    group.add_argument("--temperature", type=NOT_NEGATIVE, default=1.0)
    group.add_argument("--top-p", type=TOP_P, default=1.0)
    group.add_argument("--raw", action="store_true", help="without the model's chat template")
    group.add_argument("--limit", type=COUNT, help="prompts at most")


def _problems(options: Namespace) -> Iterator[str]:
    if options.trajectories is None and not options.generations and options.decode is None:
        yield "nothing to evaluate; give --trajectories, --generations or --decode"
    if options.columns is not None and options.trajectories is None:
        yield "--columns belongs to --trajectories; give both"
    if options.threshold is not None and options.alpha is not None:
        yield "--threshold and --alpha exclude each other; keep one"
    if options.decode is None:
        for name in ("model", "head", "threshold", "alpha", "unsafe", "url"):
            if getattr(options, name) is not None:
                yield f"--{name} belongs to --decode; give both"
        return
    if options.model is None or options.head is None:
        yield "--decode needs --model and --head"
    if options.unsafe is None and options.url is None:
        yield "--decode needs a judge: --unsafe with a pattern, or --url"
    written = options.out / DECODED
    if os.path.realpath(written) in map(os.path.realpath, options.generations):
        yield f"--generations: {written} is written by --decode; give another --out"


SUBCOMMAND = Subcommand(
    "evaluate",
    "compare stop rules and ways to decode, and write one report",
    (
        "value-steer evaluate --trajectories trajectories.jsonl --out report",
        "value-steer evaluate --trajectories t.jsonl --columns baselines.jsonl --steps 1 20 100",
        "value-steer evaluate --generations base.jsonl vfd.jsonl",
        "value-steer evaluate --decode prompts.jsonl --model my-model --head vhead.safetensors"
        " --alpha 0.05 --unsafe poison",
    ),
    _add,
    {
        "--trajectories": FILE,
        "--columns": FILE,
        "--generations": FILE,
        "--decode": FILE,
        "--model": MODEL,
        "--head": FILE,
        "--out": OUTPUT_FOLDER,
    },
    _problems,
)
