"""Options of ``value-steer capture``."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.cli.arguments.numbers import amount, count, seed, share, whole_from
from value_steer.cli.arguments.subcommand import Subcommand
from value_steer.records.codec import parse_json

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
_OWN = {"additional_config", "async_scheduling", "dtype", "model", "worker_cls"}


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
    command.add_argument("--limit", type=count, help="prompts at most")
    command.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out rows that cannot be used and say how many; else the first one stops",
    )
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
    _add_replicas(command)


def _add_sampling(command: ArgumentParser) -> None:
    sampling = command.add_argument_group("sampling, as it will be served")
    sampling.add_argument("--samples", type=count, default=1, help="responses to each prompt")
    sampling.add_argument("--max-tokens", type=count, default=400, help="default: %(default)s")
    sampling.add_argument("--temperature", type=amount, default=1.0, help="default: %(default)s")
    sampling.add_argument("--top-p", type=share, default=1.0, help="default: %(default)s")
    sampling.add_argument("--top-k", type=whole_from(0), default=0, help="0 is off (default)")
    sampling.add_argument("--min-p", type=share, default=0.0, help="0 is off (default)")
    sampling.add_argument("--raw", action="store_true", help="without the model's chat template")
    sampling.add_argument(
        "--seed",
        type=_seed,
        default=0,
        help="of every response; none: vLLM on a CPU has no seeds with long prompts "
        "(default: %(default)s)",
    )


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
        "--llm",
        type=_llm,
        default={},
        metavar="JSON",
        help='further arguments of vllm.LLM: {"tensor_parallel_size": 2}',
    )
    engine.add_argument(
        "--batch",
        type=count,
        default=256,
        help="responses at a time (default: %(default)s)",
    )
    engine.add_argument(
        "--mismatch",
        type=whole_from(0),
        default=0,
        metavar="N",
        help="with vllm: on N responses, how far the states are from those of transformers",
    )


def _add_replicas(command: ArgumentParser) -> None:
    replicas = command.add_argument_group("engines side by side, on the machines of a Ray cluster")
    replicas.add_argument("--replicas", type=count, default=1, help="default: %(default)s")
    replicas.add_argument("--cpus-per-replica", type=amount, default=1, help="default: %(default)s")
    replicas.add_argument("--gpus-per-replica", type=amount, default=0, help="default: %(default)s")


def _seed(text: str) -> int | None:
    return None if text == "none" else seed(text)


def _llm(text: str) -> dict[str, object]:
    """The arguments of ``vllm.LLM`` that a user may add."""
    try:
        arguments = parse_json(text.encode())
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    if not isinstance(arguments, dict):
        msg = 'give an object, such as {"max_model_len": 4096}'
        raise ArgumentTypeError(msg)
    if taken := sorted(_OWN & arguments.keys()):
        msg = f"{', '.join(taken)}: capture sets this itself"
        raise ArgumentTypeError(msg)
    return arguments


SUBCOMMAND = Subcommand(
    "capture",
    "sample responses and keep the hidden states that a head will score",
    (
        "value-steer capture prompts.jsonl --model ./my-model --top-p 0.9",
        "value-steer capture gsm8k/ --dataset gsm8k --model ./my-model --samples 4",
        "value-steer capture prompts.jsonl --model ./tiny --engine transformers --dtype float32",
        "value-steer capture prompts.jsonl --model ./my-model --replicas 8 --gpus-per-replica 1",
    ),
    _add,
)
