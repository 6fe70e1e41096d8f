"""Options of ``value-steer evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.numbers import amount, count, seed, share
from value_steer.cli.arguments.subcommand import Subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _add(command: ArgumentParser) -> None:
    _add_abstention(command)
    _add_steering(command)
    _add_decoding(command)
    command.add_argument("--seed", type=seed, default=0, help="of splits and resampling")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("evaluation"),
        metavar="DIR",
        help="folder for report.html and report.json (default: %(default)s)",
    )


def _add_abstention(command: ArgumentParser) -> None:
    group = command.add_argument_group("abstention, replayed on finished responses")
    group.add_argument(
        "--trajectories",
        type=Path,
        metavar="FILE",
        help="the head's values along responses of the unsteered model",
    )
    group.add_argument(
        "--columns",
        type=Path,
        metavar="FILE",
        help="self-assessments and confidences of the same responses, line for line",
    )
    group.add_argument(
        "--steps",
        type=count,
        nargs="+",
        default=[1, 20],
        metavar="TOKENS",
        help="where the fixed-step probes look (default: 1 20)",
    )
    group.add_argument(
        "--window",
        type=count,
        default=16,
        metavar="TOKENS",
        help="tokens of a confidence group (default: %(default)s)",
    )
    group.add_argument(
        "--min-tokens", type=count, default=1, help="first response token that is judged"
    )


def _add_steering(command: ArgumentParser) -> None:
    group = command.add_argument_group("steered decoding")
    group.add_argument(
        "--generations",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="judged responses of several ways to decode, to the same prompts",
    )
    group.add_argument(
        "--base", default="base", help="name of the unsteered way (default: %(default)s)"
    )


def _add_decoding(command: ArgumentParser) -> None:
    group = command.add_argument_group(
        "decoding, by every policy on a transformers model (small work: nothing is cached)"
    )
    group.add_argument("--decode", type=Path, metavar="FILE", help="prompts, one object a line")
    group.add_argument("--model", type=Path, metavar="DIR", help="folder of the model")
    group.add_argument("--head", type=Path, metavar="FILE", help="the value head")
    group.add_argument("--threshold", type=share, help="of P(undesirable); else the head's own")
    group.add_argument("--alpha", type=share, help="instead of it: through the head's calibration")
    group.add_argument("--unsafe", metavar="PATTERN", help="a response that has it is unsafe")
    group.add_argument("--url", help="instead of it: a judge's endpoint; it ends in /v1")
    group.add_argument("--judge", metavar="NAME", help="the judge (default: the first served)")
    group.add_argument(
        "--judge-max-tokens",
        type=count,
        default=256,
        help="of its answer (default: %(default)s)",
    )
    group.add_argument("--concurrency", type=count, default=8, help="requests to it at a time")
    group.add_argument("--candidates", type=count, default=8, help="draws per token at most")
    group.add_argument(
        "--best-of", type=count, default=8, metavar="N", help="responses of best of N"
    )
    group.add_argument("--max-tokens", type=count, default=64, help="of a response")
    group.add_argument("--temperature", type=amount, default=1.0)
    group.add_argument("--top-p", type=share, default=1.0)
    group.add_argument("--raw", action="store_true", help="without the model's chat template")
    group.add_argument("--limit", type=count, help="prompts at most")


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
)
