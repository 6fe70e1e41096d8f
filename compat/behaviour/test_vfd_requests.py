"""Requests' own settings of value filtering in one batch, and their outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.oracle import bad_tokens
from compat.behaviour.tiny_models import EOS, FIRST_WORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = pytest.mark.mode("vfd")


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_settings_differ_within_a_batch(filtering: Engine, plain: PlainEngine) -> None:
    """Each request gets what it asked for; one candidate is the one drawn, sampled ones too."""
    own = [
        *({"vfd_threshold": "never"}, {"steer": False}, {"steer": "false"}),
        *({"vfd_threshold": 1.0}, {"vfd_num_candidates": 1}, {}),
    ]
    batch = [
        Request(request.prompt, {**request.params, "extra_args": own[i % len(own)]})
        for i, request in enumerate(batches.greedy())
    ]
    natural = plain.generate(batch)
    filtered = filtering.generate(batches.greedy())

    answers = filtering.generate(batch)

    last = len(own) - 1
    for i, answer in enumerate(answers):
        expected = filtered[i] if i % len(own) == last else natural[i]
        assert answer.tokens == expected.tokens
    assert bad_tokens(answers[last :: len(own)]) == 0 < bad_tokens(natural[last :: len(own)])

    drawn = plain.generate(batches.seeded(12))
    alone = filtering.generate(batches.seeded(12, extra_args={"vfd_num_candidates": 1}))
    assert [a.tokens for a in alone] == [d.tokens for d in drawn]


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.compiled
def test_logprobs_belong_to_the_committed_token(filtering: Engine, plain: PlainEngine) -> None:
    """The row of a token that replaces the drawn one holds the model's own log-probability."""
    batch = batches.seeded(8, logprobs=20, top_k=20, max_tokens=1)
    natural = plain.generate(batch)

    answers = filtering.generate(batch)

    for answer, drawn in zip(answers, natural, strict=True):
        assert answer.logprobs is not None
        assert drawn.logprobs is not None
        token = str(answer.tokens[0])
        assert answer.logprobs[0][token] == pytest.approx(drawn.logprobs[0][token], abs=1e-5)
    assert [a.tokens for a in answers] != [n.tokens for n in natural]


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.compiled
def test_logprobs_of_a_prompt_wait_for_its_first_token(
    filtering: Engine, plain: PlainEngine
) -> None:
    """They come though the head objects to the token that they were computed with."""
    batch = batches.seeded(8, prompt_logprobs=2, max_tokens=1)
    natural = plain.generate(batch)

    answers = filtering.generate(batch)

    assert [a.tokens for a in answers] != [n.tokens for n in natural]
    for answer, drawn in zip(answers, natural, strict=True):
        assert answer.prompt_logprobs is not None
        assert drawn.prompt_logprobs is not None
        assert len(answer.prompt_logprobs) == len(drawn.prompt_logprobs) > 1
        for row, expected in zip(answer.prompt_logprobs, drawn.prompt_logprobs, strict=True):
            assert row == pytest.approx(expected, abs=1e-5)


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.compiled
def test_a_grammar_is_kept_while_its_tokens_are_filtered(
    filtering: Engine, plain: PlainEngine
) -> None:
    """Candidates come from what the grammar allows, and there is always a good one here."""
    grammar = {"structured_outputs": {"regex": "(w05[0-9]w06[0-9]){5}"}}
    batch = batches.seeded(12, extra_args=batches.MANY_CANDIDATES, **grammar)

    answers = filtering.generate(batch)

    for answer in answers:
        body = [token for token in answer.tokens if token >= FIRST_WORD]
        assert [token // 10 for token in body] == [5, 6] * 5
    assert bad_tokens(answers) == 0 < bad_tokens(plain.generate(batch))


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.parametrize(
    "extra_args", [{"vfd_threshold": 2}, {"vfd_alpha": 0.1}, {"vfd_treshold": 0.4}]
)
def test_a_bad_request_is_ended_and_harms_no_other(
    extra_args: dict[str, object], filtering: Engine
) -> None:
    """A request with a wrong setting ends at once; the ones beside it are served as ever."""
    alone = filtering.generate(batches.greedy(10))
    bad = Request([8, 9, 10], {"temperature": 0.0, "max_tokens": 60, "extra_args": extra_args})

    *answers, ended = filtering.generate([*batches.greedy(10), bad], checked=False)

    assert [a.tokens for a in answers] == [a.tokens for a in alone]
    assert ended.tokens == [EOS]
    (key,) = extra_args
    assert key in filtering.outcomes()[ended.request_id]["refused"]


@pytest.mark.depth("fires")
@pytest.mark.detects_dead
def test_outcomes_say_what_was_done(filtering: Engine) -> None:
    """Each request's interventions are known, and they add up to the counters."""
    before = filtering.counters()
    answers = filtering.generate(batches.greedy())
    outcomes = filtering.outcomes()
    after = filtering.counters()

    mine = [outcomes[answer.request_id] for answer in answers]

    done = sum(outcome["interventions"] for outcome in mine)
    assert done == after["interventions"] - before["interventions"] > 0
    assert all(0 <= outcome["p_undesirable"] < 0.5 for outcome in mine)
    assert {outcome["vfd_threshold"] for outcome in mine} == {0.5}


@pytest.mark.depth("fires")
@pytest.mark.detects_dead
@pytest.mark.parametrize("fallback", ["argmin", "args", "natural", "abstain"])
def test_a_request_without_an_acceptable_candidate_falls_back(
    fallback: str, pool: EnginePool, plain: PlainEngine, constant_head: Callable[[float], str]
) -> None:
    """With a head that objects to everything alike, the first draw stands or the request ends."""
    vfd = {"value_head_path": constant_head(0.1), "threshold": 0.5, "fallback": fallback}
    engine = pool.get(EngineSpec(vfd=vfd))
    batch = [Request(a.prompt, {**a.params, "max_tokens": 8}) for a in batches.SEEDED]
    natural = plain.generate(batch)

    answers = engine.generate(batch)
    outcomes = engine.outcomes()

    mine = [outcomes[answer.request_id] for answer in answers]
    assert all(outcome["no_acceptable"] for outcome in mine)
    if fallback == "abstain":
        assert all(outcome["abstained"] for outcome in mine)
        assert {a.finish_reason for a in answers} == {"stop"}
    else:
        firsts = [a.tokens[0] for a in answers]
        assert fallback == "args" or firsts == [n.tokens[0] for n in natural]


@pytest.mark.depth("fires")
@pytest.mark.parametrize("candidates", [2**63 - 1, 10**8, 257, 0], ids=str)
def test_a_request_that_asks_without_bound_harms_no_other(
    candidates: int, filtering: Engine
) -> None:
    """It is ended, and the ones beside it are filtered as if it were not there."""
    batch = batches.greedy(12)
    alone = [answer.tokens for answer in filtering.generate(batch)]
    asked = {"vfd_threshold": 0.0, "vfd_num_candidates": candidates}
    bad = Request([8, 9, 10], {"temperature": 0.0, "max_tokens": 12, "extra_args": asked})

    *answers, ended = filtering.generate([*batch, bad], checked=False)

    assert [answer.tokens for answer in answers] == alone
    assert ended.tokens == [EOS]
    assert "vfd_num_candidates" in filtering.outcomes()[ended.request_id]["refused"]
