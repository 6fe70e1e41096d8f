"""Options of ``value-steer capture``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.subcommand import Subcommand

if TYPE_CHECKING:
    from argparse import ArgumentParser

DATASETS = (
    "prompts",
    "hh-rlhf",
    "beavertails",
    "pku-saferlhf",
    "gsm8k",
    "olympiadbench",
    "realtoxicityprompts",
)


def _add(command: ArgumentParser) -> None:
    command.add_argument(
        "prompts", type=Path, metavar="PROMPTS", help="a file of prompts, or a folder of such files"
    )
    command.add_argument(
        "--dataset",
        choices=DATASETS,
        default="prompts",
        help="whose columns the file has; prompts: prompt and maybe reference (default)",
    )
    command.add_argument("--limit", type=int, help="prompts at most")
    command.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="folder of the model"
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("features"),
        metavar="DIR",
        help="where the features go (default: %(default)s); what is there is not made again",
    )
    _add_sampling(command)
    _add_engine(command)


def _add_sampling(command: ArgumentParser) -> None:
    sampling = command.add_argument_group("sampling, as it will be served")
    sampling.add_argument("--samples", type=int, default=1, help="responses to each prompt")
    sampling.add_argument("--max-tokens", type=int, default=400, help="default: %(default)s")
    sampling.add_argument("--temperature", type=float, default=1.0, help="default: %(default)s")
    sampling.add_argument("--top-p", type=float, default=1.0, help="default: %(default)s")
    sampling.add_argument("--raw", action="store_true", help="without the model's chat template")
    sampling.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def _add_engine(command: ArgumentParser) -> None:
    engine = command.add_argument_group("what generates")
    engine.add_argument(
        "--engine",
        choices=("vllm", "transformers"),
        default="vllm",
        help="vllm: the states that serving will score (default); transformers: small work",
    )
    engine.add_argument(
        "--dtype",
        choices=("bfloat16", "float16", "float32"),
        default="bfloat16",
        help="of the model's weights (default: %(default)s)",
    )
    engine.add_argument(
        "--batch", type=int, default=256, help="responses at a time (default: %(default)s)"
    )


SUBCOMMAND = Subcommand(
    "capture",
    "sample responses and keep the hidden states that a head will score",
    (
        "value-steer capture prompts.jsonl --model ./my-model --top-p 0.9",
        "value-steer capture gsm8k/ --dataset gsm8k --model ./my-model --samples 4",
        "value-steer capture prompts.jsonl --model ./tiny --engine transformers --dtype float32",
    ),
    _add,
)
