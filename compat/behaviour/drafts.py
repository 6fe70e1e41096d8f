"""Whether an engine can be steered while it decodes speculatively, and if not, who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.behaviour import batches
from compat.behaviour.engines import EngineDiedError, EngineFailedError
from compat.behaviour.messages import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import Engine, EnginePool

NGRAM = {
    "method": "ngram",
    "num_speculative_tokens": 3,
    "prompt_lookup_max": 3,
    "prompt_lookup_min": 1,
}
"""A ``speculative_config`` that needs no second model."""

_REFUSALS = (
    "drafts are judged right",
    "cannot decode speculatively on a CPU",
    "Model Runner V2 does not yet support",  # says vLLM itself, from 0.28 on
)
"""Why a steered engine does not start with one: with Model Runner V2, or on some CPU builds."""


def can_be_judged(boot: Callable[[], Engine], pool: EnginePool) -> bool:
    """Whether a steered engine starts with drafts.

    Args:
        boot: Starts it.
        pool: Where plain vLLM is from, if it has to be asked.

    Raises:
        EngineDiedError: It does not, though plain vLLM does, and has not refused them in time.
    """
    try:
        boot()
    except EngineDiedError as died:
        said = str(died)
        is_refused = any(reason in said for reason in _REFUSALS)
        if "Starting to load model" in said if is_refused else _plain_can(pool):
            raise
        return False
    return True


def _plain_can(pool: EnginePool) -> bool:
    """Whether vLLM itself decodes speculatively here: its CPU build of 0.30.0 raises."""
    try:
        pool.get(EngineSpec(options={"speculative_config": NGRAM})).generate(batches.greedy())
    except (EngineDiedError, EngineFailedError):
        return False
    return True
