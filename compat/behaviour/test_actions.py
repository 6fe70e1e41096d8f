"""Actions on a request that is given up: it ends, closes its reasoning, or says a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour import batches
from compat.behaviour.engines import EngineFailedError
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.oracle import logits
from compat.behaviour.tiny_models import EOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine
    from compat.behaviour.messages import Answer

pytestmark = pytest.mark.depth("equal")

CLOSES = 30
CLOSING, MESSAGE = [20, CLOSES], [21, 22, 23]
"""Token ids; the word of a token is its id."""


def _says(head: str) -> dict[str, Any]:
    return {
        "value_head_path": head,
        "threshold": 0.5,
        "message": "w021 w022 w023",
        "reasoning_end_token": "w030",
        "reasoning_end_str": "w020 w030",
    }


@pytest.fixture
def speaking(
    pool: EnginePool,
    recognising_head: Callable[[str], str],
    constant_head: Callable[[float], str],
) -> Engine:
    """An engine that can say something, with a second head that never objects."""
    heads = {"content": {"value_head_path": constant_head(0.9), "threshold": 0.5}}
    abstain = {**_says(recognising_head("mistral")), "heads": heads}
    return pool.get(EngineSpec(abstain=abstain))


def _with(batch: list[Request], **extra_args: object) -> list[Request]:
    return [
        Request(
            r.prompt, {**r.params, "extra_args": {**r.params.get("extra_args", {}), **extra_args}}
        )
        for r in batch
    ]


def _thinking(prompt: list[int], response: list[int]) -> bool:
    """Every response begins inside a reasoning section, as no token opens one here."""
    return CLOSES not in [*prompt, *response]


def _given_up(answer: Answer) -> bool:
    return answer.stop_reason == "value_steer:abstained"


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_a_message_is_said_before_the_end(speaking: Engine) -> None:
    """Behind what would have been the answer; inside a reasoning section, which is closed first."""
    batch = batches.greedy(40)
    closed = [Request([*r.prompt, CLOSES, 40], r.params) for r in batch[:4]]
    ended = speaking.generate([*batch, *closed])

    answers = speaking.generate(_with([*batch, *closed], abstain_action="message"))
    outcomes = speaking.outcomes()

    told = 0
    for request, plain_end, answer in zip([*batch, *closed], ended, answers, strict=True):
        kept = plain_end.tokens[:-1]
        if not _given_up(plain_end):
            assert answer.tokens == plain_end.tokens
            continue
        said = [*(CLOSING if _thinking(request.prompt, kept) else []), *MESSAGE, EOS]
        expected = [*kept, *said][:40]
        assert answer.tokens == expected
        outcome = outcomes[answer.request_id]
        assert (outcome["action"], outcome["response_tokens"]) == ("message", len(kept))
        assert outcome["abstained"]
        assert _given_up(answer) == (len(kept) + len(said) <= 40)
        told += 1
    assert told > 3
    assert {_thinking(r.prompt, []) for r in (*batch, *closed)} == {True, False}


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_reasoning_is_closed_and_the_answer_follows(speaking: Engine, plain: PlainEngine) -> None:
    """The answer is the model's own continuation of the closed reasoning, judged no more."""
    batch = batches.greedy(40)
    ended = speaking.generate(batch)

    answers = speaking.generate(_with(batch, abstain_action="end_thinking"))
    outcomes = speaking.outcomes()

    closed = [
        (request, answer, len(plain_end.tokens) - 1)
        for request, plain_end, answer in zip(batch, ended, answers, strict=True)
        if _given_up(plain_end) and _thinking(request.prompt, plain_end.tokens[:-1])
    ]
    rests = plain.generate(
        [
            Request(
                [*request.prompt, *answer.tokens[:kept], *CLOSING],
                {**request.params, "max_tokens": 40 - kept - len(CLOSING), "extra_args": {}},
            )
            for request, answer, kept in closed
        ]
    )
    for (_, answer, kept), rest in zip(closed, rests, strict=True):
        assert answer.tokens[kept:] == [*CLOSING, *rest.tokens]
        assert answer.stop_reason is None
        outcome = outcomes[answer.request_id]
        assert (outcome["action"], outcome["response_tokens"]) == ("end_thinking", kept)
        assert not outcome["abstained"]
    assert any(BAD_TOKENS & {*rest.tokens} for rest in rests), "nothing was left to object to"


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_what_is_said_has_the_models_own_log_probabilities(
    speaking: Engine, model_of: Callable[[str], Path]
) -> None:
    """Tables hold the token that was given out, with what the model thought of it."""
    (request,) = batches.greedy(40)[3:4]
    asked = Request(request.prompt, {**request.params, "logprobs": 2})

    (answer,) = speaking.generate(_with([asked], abstain_action="message", steer_test="abstain"))
    assert answer.tokens[-4:] == [*MESSAGE, EOS]
    own = logits(model_of("mistral"), request.prompt, answer.tokens).log_softmax(-1)

    assert answer.logprobs is not None
    for token, row, expected in zip(answer.tokens, answer.logprobs, own, strict=True):
        assert row[str(token)] == pytest.approx(float(expected[token]), abs=1e-4)


@pytest.mark.mode("abstain")
def test_what_cannot_be_said_is_refused(
    pool: EnginePool, speaking: Engine, recognising_head: Callable[[str], str]
) -> None:
    """A message in a grammar, and actions that the engine has nothing for."""
    grammar = {
        "structured_outputs": {"regex": "(w004|w005)+"},
        "extra_args": {"abstain_action": "message"},
    }
    with pytest.raises(EngineFailedError, match="would break the grammar"):
        speaking.generate([Request([9, 10], grammar)])
    silent = pool.get(
        EngineSpec(abstain={"value_head_path": recognising_head("mistral"), "threshold": 0.5})
    )
    for action, missing in (("message", "message"), ("end_thinking", "reasoning_end_token")):
        with pytest.raises(EngineFailedError, match=f"no additional_config.abstain.{missing}"):
            silent.generate([Request([9, 10], {"extra_args": {"abstain_action": action}})])


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_a_request_chooses_its_head(speaking: Engine, plain: PlainEngine) -> None:
    """Beside others with the engine's first one; an unknown name is refused."""
    batch = batches.greedy(24)
    ended = speaking.generate(batch)

    both = speaking.generate([*batch, *_with(batch, steer_head="content")])

    assert [a.tokens for a in both[: len(batch)]] == [a.tokens for a in ended]
    assert [a.tokens for a in both[len(batch) :]] == [a.tokens for a in plain.generate(batch)]
    assert any(map(_given_up, both[: len(batch)]))
    with pytest.raises(EngineFailedError, match="this engine has content"):
        speaking.generate(_with(batch[:1], steer_head="other"))


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
def test_filtered_requests_say_theirs_as_well(
    pool: EnginePool, recognising_head: Callable[[str], str], constant_head: Callable[[float], str]
) -> None:
    """The forced tokens are not filtered, those after them are; preempted in between or not."""
    head = recognising_head("mistral")
    vfd = {
        "value_head_path": constant_head(0.9),
        "threshold": 0.5,
        "heads": {"strict": {"value_head_path": head, "threshold": 0.5}},
    }
    crowded = pool.get(EngineSpec(abstain=_says(head), vfd=vfd, options=batches.TIGHT))
    alone = pool.get(EngineSpec(abstain=_says(head), vfd=vfd))
    asked = _with(
        batches.greedy(batches.CROWDING), abstain_action="end_thinking", abstain_threshold=0.5
    )
    strict = _with(asked[:6], steer_head="strict")

    answers = crowded.generate([*asked, *strict])
    outcomes = crowded.outcomes()

    quiet = alone.generate([*asked, *strict])
    assert [a.tokens for a in answers] == [a.tokens for a in quiet]
    closed = [
        a for a in answers[: len(asked)] if outcomes[a.request_id]["action"] == "end_thinking"
    ]
    assert closed
    for answer in closed:
        kept = outcomes[answer.request_id]["response_tokens"]
        assert answer.tokens[kept : kept + 2] == CLOSING
    for answer in answers[len(asked) :]:
        assert not BAD_TOKENS & {*answer.tokens} or outcomes[answer.request_id]["no_acceptable"]
    assert any(outcomes[a.request_id]["interventions"] for a in answers[len(asked) :])
