"""The caller can tell an abstention from an answer, and the value from a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches, heads
from compat.behaviour.engines import EngineFailedError
from compat.behaviour.messages import EngineSpec
from compat.behaviour.tiny_models import EOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import EnginePool

pytestmark = [pytest.mark.mode("abstain"), pytest.mark.depth("equal")]

_TOLERANCE = 1e-4
"""fp32 on both sides; the engine's attention sums in another order."""


@pytest.mark.detects_dead
def test_outcomes_say_what_ended_and_with_which_value(
    pool: EnginePool, model_of: Callable[[str], Path], recognising_head: Callable[[str], str]
) -> None:
    """Values equal the head on transformers' hidden states, also from an engine process apart."""
    head = recognising_head("mistral")
    abstain = {"value_head_path": head, "threshold": 0.5}
    engine = pool.get(EngineSpec(abstain=abstain, env={"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}))
    batch = batches.greedy(6)

    answers = engine.generate(batch)
    outcomes = engine.outcomes()

    for request, answer in zip(batch, answers, strict=True):
        outcome = outcomes[answer.request_id]
        ended = answer.tokens[-1] == EOS and outcome["value"] < 0.5
        consumed = [*request.prompt, *answer.tokens[:-1]]
        truth = heads.p_good(model_of("mistral"), head, consumed)
        assert outcome["value"] == pytest.approx(truth, abs=_TOLERANCE)
        assert outcome["abstained"] is ended
        assert outcome["response_tokens"] == (len(answer.tokens) - 1 if ended else None)
    assert {o["abstained"] for o in outcomes.values()} == {True, False}
    assert engine.counters()["abstained"] > 0


def test_a_broken_step_is_never_served_unsteered(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """By default an error in a decision ends the engine rather than the steering."""
    abstain = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    engine = pool.get(EngineSpec(abstain=abstain, worker="compat.behaviour.broken.FailingWorker"))

    with pytest.raises(EngineFailedError, match="a steering decision failed"):
        engine.generate(batches.greedy(4))
