"""Outcomes of steered answers, and requests that are refused before they are queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.engines import EngineFailedError
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.tiny_models import EOS

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = pytest.mark.depth("equal")

_MANY = 1000


@pytest.fixture(scope="module")
def abstaining(pool: EnginePool, recognising_head: Callable[[str], str]) -> Engine:
    """An engine that gives up after bad tokens."""
    return pool.get(
        EngineSpec(abstain={"value_head_path": recognising_head("mistral"), "threshold": 0.5})
    )


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_the_reason_of_an_end_is_told(abstaining: Engine) -> None:
    """Given up, ended by the model, cut at its length: three different answers."""
    steered = batches.greedy(40)
    exempt = [Request(r.prompt, {**r.params, "extra_args": {"steer": False}}) for r in steered]

    answers = abstaining.generate([*steered, *exempt])

    for answer in answers[: len(steered)]:
        given_up = answer.tokens[-1] == EOS and bool(BAD_TOKENS & {*answer.tokens[-2:-1]})
        expected = ("stop", "value_steer:abstained") if given_up else None
        assert expected is None or (answer.finish_reason, answer.stop_reason) == expected
        assert given_up or answer.stop_reason is None
    assert {answer.stop_reason for answer in answers[len(steered) :]} == {None}
    assert {a.stop_reason for a in answers} == {None, "value_steer:abstained"}


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_every_judged_token_is_counted_once(abstaining: Engine) -> None:
    """Nothing that was in flight when a request ended is part of its outcome."""
    asked = [
        Request(r.prompt, {**r.params, "extra_args": {"steer_values": "true"}})
        for r in batches.greedy(24)
    ]
    before = abstaining.counters()

    answers = abstaining.generate(asked)
    outcomes = abstaining.outcomes()

    judged = 0
    for answer in answers:
        outcome = outcomes[answer.request_id]
        assert outcome["judged"] == len(outcome["values"]) == len(answer.tokens) - 1
        assert outcome["value"] == outcome["values"][-1]
        assert outcome["lowest"] == min(outcome["values"])
        judged += outcome["judged"]
    assert abstaining.counters()["judged"] - before["judged"] == judged


@pytest.mark.mode("abstain")
def test_bad_settings_are_refused_before_they_are_queued(abstaining: Engine) -> None:
    """With the message, for the one request; the engine answers on."""
    with pytest.raises(EngineFailedError, match=r"extra_args\.abstain_threshold = 2"):
        abstaining.generate([Request([9, 10, 11], {"extra_args": {"abstain_threshold": 2}})])

    (answer,) = abstaining.generate([Request([9, 10, 11], {"max_tokens": 3})])
    assert answer.tokens


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_a_request_can_have_itself_given_up(abstaining: Engine) -> None:
    """So that an operator sees the whole path work."""
    test = {"max_tokens": 9, "temperature": 0.0, "extra_args": {"steer_test": "abstain"}}
    other = {"max_tokens": 9, "temperature": 0.0, "extra_args": {"steer": False}}

    answers = abstaining.generate([Request([9, 10, 11], test), Request([9, 10, 11], other)])

    assert [answer.stop_reason for answer in answers] == ["value_steer:abstained", None]
    assert len(answers[0].tokens) == 2


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
def test_a_request_can_have_a_token_refused(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """The head accepts everything, and the first token is another one all the same."""
    engine = pool.get(EngineSpec(vfd={"value_head_path": constant_head(0.9), "threshold": 0.5}))
    greedy = {"max_tokens": 9, "temperature": 0.0}
    test = {**greedy, "extra_args": {"steer_test": "intervene"}}

    tested, usual = engine.generate([Request([9, 10, 11], test), Request([9, 10, 11], greedy)])

    assert tested.tokens[0] != usual.tokens[0]
    assert engine.outcomes()[tested.request_id]["interventions"] == 1


@pytest.mark.mode("abstain")
def test_no_outcome_is_lost_between_two_reads(abstaining: Engine) -> None:
    """Of a thousand requests that finish in between."""
    one = Request([9, 10, 11], {"max_tokens": 1, "temperature": 0.0})

    answers = abstaining.generate([one] * _MANY)

    assert {answer.request_id for answer in answers} <= set(abstaining.outcomes())


@pytest.mark.mode("abstain")
def test_an_operator_can_switch_steering_off(
    pool: EnginePool, recognising_head: Callable[[str], str], plain: PlainEngine
) -> None:
    """The engine serves what plain vLLM does."""
    spec = EngineSpec(
        abstain={"value_head_path": recognising_head("mistral"), "threshold": 0.5},
        vfd={"value_head_path": recognising_head("mistral"), "threshold": 0.5},
        env={"VALUE_STEER_DISABLE": "1"},
    )
    batch = batches.greedy(20)

    answers = pool.get(spec).generate(batch)

    assert [a.tokens for a in answers] == [a.tokens for a in plain.generate(batch)]
    assert {a.stop_reason for a in answers} == {None}
