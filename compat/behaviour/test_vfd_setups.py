"""Both modes in one engine, and schedulers that value filtering cannot work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.engines import EngineDiedError, EngineFailedError
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.test_tensor_parallel import CORES, TWO_RANKS
from compat.behaviour.tiny_models import EOS

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import EnginePool


@pytest.mark.mode("vfd")
@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_abstention_and_filtering_share_an_engine(
    pool: EnginePool,
    recognising_head: Callable[[str], str],
    constant_head: Callable[[float], str],
) -> None:
    """A request filters until its own abstention ends it; the others filter on."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    filtered = pool.get(EngineSpec(vfd=vfd)).generate(batches.greedy(40))
    abstain = {"value_head_path": constant_head(0.4), "threshold": 0.2, "min_tokens": 5}
    engine = pool.get(EngineSpec(abstain=abstain, vfd=vfd))
    batch = [
        Request(
            a.prompt, {**a.params, "extra_args": {"abstain_threshold": 0.5}} if i % 2 else a.params
        )
        for i, a in enumerate(batches.greedy(40))
    ]

    answers = [answer.tokens for answer in engine.generate(batch)]

    assert answers == [
        [*alone.tokens[:5], EOS] if i % 2 else alone.tokens for i, alone in enumerate(filtered)
    ]


@pytest.mark.mode("vfd")
@pytest.mark.depth("fires")
@pytest.mark.two_devices
def test_a_scheduler_that_takes_no_token_back_is_refused(
    pool: EnginePool, recognising_head: Callable[[str], str]
) -> None:
    """Where value-steer is not loaded before the engine is configured, it does not start."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    env = {**CORES, "VLLM_PLUGINS": "none_of_them"}

    with pytest.raises((EngineDiedError, EngineFailedError), match="install value-steer as a pack"):
        pool.get(EngineSpec(vfd=vfd, options=TWO_RANKS, env=env))


@pytest.mark.mode("vfd")
@pytest.mark.depth("fires")
def test_a_scheduler_of_another_kind_is_refused(
    pool: EnginePool, recognising_head: Callable[[str], str]
) -> None:
    """It would count a token that was taken back as given: requests would hang."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}

    with pytest.raises(EngineDiedError, match="remove --scheduler-cls"):
        pool.get(EngineSpec(vfd=vfd, options={"scheduler_cls": "builtins.object"}))
