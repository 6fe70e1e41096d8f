"""Abstention ends what the head gives up, and leaves everything else alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.messages import SMALLEST, EngineSpec, Request
from compat.behaviour.oracle import ended_at_first_bad
from compat.behaviour.tiny_models import EOS, FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import EnginePool, PlainEngine

pytestmark = pytest.mark.mode("abstain")


@pytest.mark.depth("fires")
@pytest.mark.sentinel("eos_fires")
@pytest.mark.detects_dead
def test_eos_fires(
    pool: EnginePool, plain: PlainEngine, constant_head: Callable[[float], str]
) -> None:
    """A head that gives up on everything ends each request after its first response token."""
    natural = plain.generate(batches.greedy())
    engine = pool.get(EngineSpec(abstain={"value_head_path": constant_head(0.1), "threshold": 0.5}))

    answers = engine.generate(batches.greedy())

    assert [a.tokens for a in answers] == [[n.tokens[0], EOS] for n in natural]
    assert {a.finish_reason for a in answers} == {"stop"}


@pytest.mark.depth("fires")
@pytest.mark.detects_dead
def test_the_prompt_is_judged_when_min_tokens_is_zero(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """With min_tokens 0 the last prompt position is judged, so nothing is generated at all."""
    abstain = {"value_head_path": constant_head(0.1), "threshold": 0.5, "min_tokens": 0}
    engine = pool.get(EngineSpec(abstain=abstain, options=batches.CHUNKED))

    answers = engine.generate(batches.greedy())

    assert [a.tokens for a in answers] == [[EOS]] * len(answers)


@pytest.mark.depth("equal")
@pytest.mark.parametrize("batch", [batches.greedy(batches.LONG), batches.SEEDED])
def test_a_head_that_never_objects_changes_nothing(
    batch: list[Request],
    pool: EnginePool,
    plain: PlainEngine,
    constant_head: Callable[[float], str],
) -> None:
    """Tokens and log-probabilities equal plain vLLM's, greedy and seeded, feature by feature."""
    natural = plain.generate(batch)
    abstain = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    engine = pool.get(EngineSpec(abstain=abstain, options={"block_size": SMALLEST}))

    answers = engine.generate(batch)

    assert [(a.tokens, a.logprobs) for a in answers] == [(n.tokens, n.logprobs) for n in natural]
    assert sum(len(a.tokens) for a in answers) > batches.LONG


@pytest.mark.depth("equal")
def test_a_disabled_engine_is_plain_vllm(
    pool: EnginePool, plain: PlainEngine, constant_head: Callable[[float], str]
) -> None:
    """Switched off, even a head that gives up on everything changes nothing."""
    natural = plain.generate(batches.greedy())
    abstain = {"value_head_path": constant_head(0.1), "threshold": 0.5, "enabled": False}
    engine = pool.get(EngineSpec(abstain=abstain))

    answers = engine.generate(batches.greedy())

    assert [a.tokens for a in answers] == [n.tokens for n in natural]
    assert engine.counters()["judged"] == 0


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.parametrize("family", FAMILIES)
def test_a_request_ends_right_after_its_first_bad_token(
    family: str,
    pool: EnginePool,
    plain_of: Callable[[str], PlainEngine],
    recognising_head: Callable[[str], str],
) -> None:
    """Chunked and mixed batches: every request is plain vLLM's up to its first bad token."""
    natural = plain_of(family).generate(batches.greedy())
    abstain = {"value_head_path": recognising_head(family), "threshold": 0.5}
    engine = pool.get(EngineSpec(model=family, abstain=abstain, options=batches.CHUNKED))

    answers = engine.generate(batches.greedy())

    expected = [ended_at_first_bad(n.tokens) for n in natural]
    assert [a.tokens for a in answers] == expected
    assert expected != [n.tokens for n in natural]


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_preempted_requests_are_judged_as_if_never_interrupted(
    pool: EnginePool, plain: PlainEngine, recognising_head: Callable[[str], str]
) -> None:
    """With a KV cache too small for the batch, requests are preempted and resumed unharmed."""
    batch = batches.greedy(batches.CROWDING, abstain_threshold="never")
    first = 2 * batches.CROWDING // 3
    late = {"min_tokens": first, "patience": 2}
    abstain = {"value_head_path": recognising_head("mistral"), "threshold": 0.5, **late}
    engine = pool.get(EngineSpec(abstain=abstain, options=batches.TIGHT))
    natural = plain.generate(batch)

    untouched = engine.generate(batch)
    ended = engine.generate(batches.greedy(batches.CROWDING))

    assert [a.tokens for a in untouched] == [n.tokens for n in natural]
    assert [a.tokens for a in ended] == [
        ended_at_first_bad(n.tokens, first_judged=first, patience=2) for n in natural
    ]
    assert [a.tokens for a in ended] != [a.tokens for a in untouched]
    assert engine.preemptions() > 0
