"""vLLM's offline engine, made to capture, as a user's script would make it.

It touches nothing of vLLM but ``LLM`` and ``SamplingParams``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import vllm
from vllm import LLM, SamplingParams

from value_steer.features.capture import engine_options

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.features.engine import Engine, Sampling

VERSION: str = vllm.__version__


@dataclass(frozen=True, slots=True)
class Booted:
    """An engine, and how it is to sample."""

    engine: Engine
    sampling: Sampling


def boot(options: Namespace, hidden_size: int) -> Booted:
    """Start the engine.

    Args:
        options: Of ``value-steer capture``.
        hidden_size: Of the model.
    """
    engine = LLM(
        model=str(options.model),
        dtype=options.dtype,
        **engine_options(options.out, hidden_size),
    )
    sampling = SamplingParams(
        temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_tokens
    )
    return Booted(engine, sampling)
