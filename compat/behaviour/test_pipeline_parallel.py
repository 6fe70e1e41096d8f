"""Two pipeline stages, of which the last one decides and the first one answers the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.engines import EngineDiedError
from compat.behaviour.messages import EngineSpec
from compat.behaviour.oracle import ended_at_first_bad

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import EnginePool, PlainEngine

pytestmark = [
    pytest.mark.depth("equal"),
    pytest.mark.compiled,  # the runner of the interpreted lanes is refused
]

_TWO_STAGES = {
    "pipeline_parallel_size": 2,
    # An eager CPU runner of vLLM has no room for what the first stage sends: only one that compiles
    # warms up. This is the least that counts as compiling.
    "enforce_eager": False,
    "compilation_config": {"mode": 1, "backend": "eager"},
    "async_scheduling": False,
}
_CORES = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_the_last_stage_ends_requests(
    pool: EnginePool, plain: PlainEngine, recognising_head: Callable[[str], str]
) -> None:
    """At the tokens where one stage would, patience and all, and outcomes are told."""
    natural = plain.generate(batches.greedy())
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5, "patience": 2}
    spec = EngineSpec(abstain=section, options=_TWO_STAGES, env=_CORES)
    try:
        engine = pool.get(spec)
    except EngineDiedError as refused:  # on earlier releases; then one stage has to do
        if "steered from vLLM 0.28 on" not in str(refused):
            raise
        engine = pool.get(EngineSpec(abstain=section))

    answers = engine.generate(batches.greedy())

    expected = [ended_at_first_bad(n.tokens, patience=2) for n in natural]
    assert [a.tokens for a in answers] == expected
    assert expected != [n.tokens for n in natural]
    outcomes = engine.outcomes()
    for answer in answers:
        told = outcomes[answer.request_id]
        assert told["abstained"] is (answer.stop_reason == "value_steer:abstained")
        assert told["judged"] == len(answer.tokens) - 1
    assert engine.counters()["abstained"] == sum(told["abstained"] for told in outcomes.values())
    pool.discard(spec)  # its stages would wait busily


@pytest.mark.mode("vfd")
def test_two_stages_are_refused_where_tokens_are_filtered(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """Before the model is loaded, with what to do about it."""
    section = {"value_head_path": constant_head(0.9), "threshold": 0.5}

    with pytest.raises(EngineDiedError, match="--pipeline-parallel-size 1") as refused:
        pool.get(EngineSpec(vfd=section, options=_TWO_STAGES, env=_CORES))

    assert "Starting to load model" not in str(refused.value)
