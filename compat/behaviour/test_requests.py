"""A request's own settings are honoured, beside others that ask for something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.oracle import ended_at_first_bad
from compat.behaviour.tiny_models import EOS, SECOND_EOS

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = [pytest.mark.mode("abstain"), pytest.mark.depth("equal")]


@pytest.fixture
def engine(pool: EnginePool, recognising_head: Callable[[str], str]) -> Engine:
    """An engine that abstains on bad tokens."""
    abstain = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    return pool.get(EngineSpec(abstain=abstain))


def _with_natural(
    natural_of: PlainEngine, **params: object
) -> tuple[list[Request], list[list[int]]]:
    """Greedy requests with ``params``, and what plain vLLM generates for them."""
    batch = [
        Request(p, {"temperature": 0.0, "max_tokens": batches.USUAL, **params})
        for p in batches.prompts()
    ]
    return batch, [answer.tokens for answer in natural_of.generate(batch)]


@pytest.mark.detects_dead
def test_thresholds_differ_within_a_batch(engine: Engine, plain: PlainEngine) -> None:
    """Requests with their own threshold, without steering, and with defaults share a batch."""
    batch, natural = _with_natural(plain)
    own = [
        {"abstain_threshold": 0.0},
        {"abstain_threshold": 1.0},
        {"abstain_threshold": "never"},
        {"steer": False},
        {"steer": 0},
        {},
    ]
    batch = [
        Request(request.prompt, {**request.params, "extra_args": own[i % len(own)]})
        for i, request in enumerate(batch)
    ]

    answers = [answer.tokens for answer in engine.generate(batch)]

    def expected(i: int) -> list[int]:
        if i % len(own) == 1:
            return [natural[i][0], EOS]
        return ended_at_first_bad(natural[i]) if i % len(own) == 5 else natural[i]

    assert answers == [expected(i) for i in range(len(batch))]


def test_ignore_eos_is_honoured(engine: Engine, plain: PlainEngine) -> None:
    """A request that ignores its end-of-sequence token is not ended by the head either."""
    batch, natural = _with_natural(plain, ignore_eos=True)

    answers = engine.generate(batch)

    assert [a.tokens for a in answers] == natural
    assert {a.finish_reason for a in answers} == {"length"}


@pytest.mark.detects_dead
def test_min_tokens_of_the_request_is_honoured(engine: Engine, plain: PlainEngine) -> None:
    """A request is not ended before the length it asked for."""
    least = batches.USUAL * 5 // 12
    batch, natural = _with_natural(plain, min_tokens=least)

    answers = engine.generate(batch)

    assert [a.tokens for a in answers] == [
        ended_at_first_bad(n, first_judged=least) for n in natural
    ]
    assert all(len(a.tokens) > least for a in answers)


@pytest.mark.detects_dead
@pytest.mark.parametrize(
    "params",
    [
        {"stop_token_ids": [SECOND_EOS, 77]},
        {"allowed_token_ids": list(range(4, 400))},
        {"bad_words": ["</s>"]},
        {"logit_bias": {str(EOS): -100.0}},
    ],
    ids=["several stop tokens", "end not allowed", "end is a bad word", "end is biased away"],
)
def test_a_request_is_ended_whatever_else_it_asks_for(
    params: dict[str, object], engine: Engine, plain: PlainEngine
) -> None:
    """Sampling features that keep the model from ending do not keep the head from it."""
    batch, natural = _with_natural(plain, **params)

    answers = engine.generate(batch)

    assert [a.tokens for a in answers] == [ended_at_first_bad(n) for n in natural]


@pytest.mark.compiled
def test_a_grammar_is_never_broken(
    pool: EnginePool, plain: PlainEngine, constant_head: Callable[[float], str]
) -> None:
    """While the grammar does not let a request end, it is not ended; its text stays valid."""
    grammar = {"structured_outputs": {"regex": "w05[0-9]w06[0-9]w07[0-9]"}}
    batch, natural = _with_natural(plain, **grammar)
    abstain = {"value_head_path": constant_head(0.1), "threshold": 0.5}
    engine = pool.get(EngineSpec(abstain=abstain))

    answers = [answer.tokens for answer in engine.generate(batch)]

    # At the grammar's own end the model may choose either of its end tokens.
    assert [tokens[:-1] for tokens in answers] == [tokens[:-1] for tokens in natural]
    assert {tokens[-1] for tokens in answers} <= {EOS, SECOND_EOS}
    assert {len(tokens) for tokens in answers} == {4}


@pytest.mark.detects_dead
@pytest.mark.compiled
def test_an_optional_end_in_a_grammar_is_taken(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """As soon as the grammar allows the end, a request the head gives up on takes it."""
    grammar = {"structured_outputs": {"regex": "w05[0-9](w06[0-9])*"}}
    batch = [Request([5, 6], {"temperature": 0.0, "max_tokens": 40, **grammar})]
    abstain = {"value_head_path": constant_head(0.1), "threshold": 0.5}
    engine = pool.get(EngineSpec(abstain=abstain))

    (answer,) = engine.generate(batch)

    assert len(answer.tokens) == 2
    assert answer.tokens[-1] == EOS


@pytest.mark.detects_dead
def test_logprobs_belong_to_the_emitted_token(engine: Engine, plain: PlainEngine) -> None:
    """Each log-probability row holds the emitted token, the forced end with the model's own."""
    batch, natural = _with_natural(plain, logprobs=2)

    answers = engine.generate(batch)

    assert [a.tokens for a in answers] == [ended_at_first_bad(n) for n in natural]
    for answer in answers:
        assert answer.logprobs is not None
        rows = zip(answer.tokens, answer.logprobs, strict=True)
        assert all(-100.0 < row[str(token)] <= 0.0 for token, row in rows)


@pytest.mark.parametrize(
    "extra_args",
    [{"abstain_threshold": 1.5}, {"abstain_treshold": 0.5}, {"steer": "perhaps"}],
    ids=["out of range", "misspelt", "not a switch"],
)
def test_a_bad_request_is_ended_and_harms_no_other(
    extra_args: dict[str, object], engine: Engine, plain: PlainEngine
) -> None:
    """A request with a wrong setting ends at once; the ones beside it are served as ever."""
    batch, natural = _with_natural(plain, extra_args={"steer": False})
    bad = Request([8, 9, 10], {"temperature": 0.0, "max_tokens": 60, "extra_args": extra_args})

    *answers, ended = engine.generate([*batch, bad], checked=False)

    assert [a.tokens for a in answers] == natural
    assert ended.tokens == [EOS]
    (key,) = extra_args
    assert key in engine.outcomes()[ended.request_id]["refused"]


@pytest.mark.detects_dead
def test_settings_may_come_as_text_beside_those_of_other_plugins(
    engine: Engine, plain: PlainEngine
) -> None:
    """Text of a number is the number; what is not ours by name and type is left alone."""
    batch, natural = _with_natural(plain)
    foreign = {"steering_vector": [0.5], "steer": '{"layers": [1]}', "steered": True}
    asked = [{"abstain_threshold": "1.0", **foreign}, {"steer": "false"}, foreign]
    requests = [
        Request(r.prompt, {**r.params, "extra_args": asked[i % 3]}) for i, r in enumerate(batch)
    ]

    answers = [answer.tokens for answer in engine.generate(requests)]

    def expected(i: int) -> list[int]:
        at_once = [natural[i][0], EOS]
        return (at_once, natural[i], ended_at_first_bad(natural[i]))[i % 3]

    assert answers == [expected(i) for i in range(len(requests))]
