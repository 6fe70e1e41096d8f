"""With speculative decoding each token is judged as it is without, and the first bad one ends."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour import batches, drafts, tiny_models
from compat.behaviour.engines import ASYNCHRONOUS
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.oracle import ended_at_first_bad
from compat.behaviour.tiny_models import EOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = [
    pytest.mark.mode("abstain"),
    pytest.mark.depth("equal"),
    pytest.mark.compiled,  # the runner of the interpreted lanes is refused
]

_KINDS = ("ngram", "same model", "other model")
"""Who drafts: rejected at times, never, and nearly always."""

_OPTIONS = {**batches.CHUNKED, "disable_log_stats": False}

_TOLERANCE = 1e-4
"""fp32; rows of several positions are computed in another order."""


@pytest.fixture(scope="session")
def speculates(steered: Callable[..., Engine], pool: EnginePool) -> bool:
    """Whether the host can be steered while it decodes speculatively; else it does not start."""
    return drafts.can_be_judged(lambda: steered("ngram"), pool)


@pytest.fixture(scope="session")
def draft_config(
    workshop: Path, model_of: Callable[[str], Path]
) -> Callable[[str], dict[str, Any]]:
    """The ``speculative_config`` of each kind."""
    others = functools.cache(lambda: tiny_models.build("mistral", workshop / "drafts", seed=21))

    def get(kind: str) -> dict[str, Any]:
        if kind == "ngram":
            return drafts.NGRAM
        model = model_of("mistral") if kind == "same model" else others()
        return {"method": "draft_model", "model": str(model), "num_speculative_tokens": 3}

    return get


@pytest.fixture(scope="session")
def ahead(
    pool: EnginePool,
    plain_of: Callable[[str], PlainEngine],
    draft_config: Callable[[str], dict[str, Any]],
) -> Callable[[str | None], bool]:
    """Whether steps with the drafts of a kind are scheduled ahead.

    Before 0.28 vLLM does it with those of a model only if it is asked to, and its own answers are
    wrong then in 0.21 and 0.22 where drafts are rejected: elsewhere it is asked.
    """

    @functools.cache
    def is_right() -> bool:
        drafted = {"speculative_config": draft_config("other model"), "async_scheduling": True}
        answers = pool.get(EngineSpec(options={**_OPTIONS, **drafted})).generate(batches.greedy())
        natural = plain_of("mistral").generate(batches.greedy())
        return [a.tokens for a in answers] == [n.tokens for n in natural]

    # The host schedules synchronously where drafts are made from tokens on the host.
    return lambda kind: ASYNCHRONOUS and kind in {"same model", "other model"} and is_right()


@pytest.fixture(scope="session")
def steered(
    pool: EnginePool,
    draft_config: Callable[[str], dict[str, Any]],
    ahead: Callable[[str | None], bool],
    recognising_head: Callable[[str], str],
    constant_head: Callable[[float], str],
) -> Callable[..., Engine]:
    """Engines that abstain, by who drafts; few, since tests share them.

    A second head of each, ``content``, never objects.
    """
    heads = {"content": {"value_head_path": constant_head(0.9), "threshold": 0.5}}
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5, "heads": heads}

    def get(
        kind: str | None,
        options: dict[str, Any] = _OPTIONS,
        *,
        patience: int = 1,
        min_tokens: int = 1,
    ) -> Engine:
        if kind is not None:
            options = {**options, "speculative_config": draft_config(kind)}
        if ahead(kind):
            options = {**options, "async_scheduling": True}
        abstain = {**section, "patience": patience, "min_tokens": min_tokens}
        return pool.get(EngineSpec(abstain=abstain, options=options))

    return get


@pytest.fixture(scope="session")
def drafting(steered: Callable[..., Engine], *, speculates: bool) -> Callable[..., Engine]:
    """The same where the host can be steered while it drafts, elsewhere without drafts."""

    def get(kind: str, options: dict[str, Any] = _OPTIONS, **abstain: object) -> Engine:
        return steered(kind if speculates else None, options, **abstain)

    return get


@pytest.mark.parametrize("kind", _KINDS)
def test_a_head_that_never_objects_changes_nothing(
    kind: str,
    plain: PlainEngine,
    drafting: Callable[..., Engine],
    ahead: Callable[[str], bool],
    *,
    speculates: bool,
) -> None:
    """Greedy tokens are those of plain vLLM without drafts, of which some were accepted."""
    natural = plain.generate(batches.greedy())
    engine = drafting(kind)
    before = engine.drafts()

    answers = engine.generate(batches.greedy(steer_head="content"))

    assert [a.tokens for a in answers] == [n.tokens for n in natural]
    drafted, accepted = (now - then for now, then in zip(engine.drafts(), before, strict=True))
    assert (drafted > 0) is speculates
    if speculates:
        assert accepted > 0 or kind == "other model"
        # Two logits that are nearly equal may swap where rows are computed in another order.
        assert accepted >= 0.98 * drafted if kind == "same model" else accepted < drafted
        assert engine.scheduling().ahead is ahead(kind)


@pytest.mark.detects_dead
@pytest.mark.parametrize("patience", [1, 2])
@pytest.mark.parametrize("kind", _KINDS)
def test_a_request_ends_right_after_its_first_bad_tokens(
    kind: str, patience: int, plain: PlainEngine, drafting: Callable[..., Engine]
) -> None:
    """Amid accepted drafts, behind rejected ones, and with patience across steps."""
    natural = plain.generate(batches.greedy())

    answers = drafting(kind, patience=patience).generate(batches.greedy())

    expected = [ended_at_first_bad(n.tokens, patience=patience) for n in natural]
    assert [a.tokens for a in answers] == expected
    assert expected != [n.tokens for n in natural]
    assert len({len(tokens) % 4 for tokens in expected if tokens[-1] == EOS}) > 1


@pytest.mark.detects_dead
@pytest.mark.parametrize("kind", _KINDS)
def test_outcomes_are_those_without_drafts(
    kind: str, steered: Callable[..., Engine], drafting: Callable[..., Engine]
) -> None:
    """Value by value, for requests that end by the head, by a token of their own, or full."""
    alone = steered(None, patience=2)
    batch = _mixed(alone.generate(batches.greedy(abstain_threshold="never")))

    without, drafted = (_outcomes(engine, batch) for engine in (alone, drafting(kind, patience=2)))

    assert [told.keys() for told in drafted] == [told.keys() for told in without]
    for ours, theirs in zip(drafted, without, strict=True):
        assert {k: v for k, v in ours.items() if k not in _NUMBERS} == {
            k: v for k, v in theirs.items() if k not in _NUMBERS
        }
        for key in _NUMBERS:
            assert ours[key] == pytest.approx(theirs[key], abs=_TOLERANCE)
    assert {told["abstained"] for told in drafted} == {True, False}
    assert {told["threshold"] for told in drafted} == {0.5, None}


_NUMBERS = ("value", "lowest", "values")


def _mixed(natural: list[Any]) -> list[Request]:
    """Steered ones, exempt ones, ones that stop at a token of their own, and of any length."""
    mixed = []
    for number, (request, answer) in enumerate(zip(batches.greedy(), natural, strict=True)):
        params = {**request.params, "max_tokens": batches.USUAL - number}
        extra_args: dict[str, object] = {"steer_values": True}
        if number % 4 == 1:
            extra_args["steer"] = False
        if number % 4 == 2:
            params["stop_token_ids"] = [answer.tokens[number]]
        if number % 4 == 3:
            params["min_tokens"] = number
        mixed.append(Request(request.prompt, {**params, "extra_args": extra_args}))
    return mixed


def _outcomes(engine: Engine, batch: list[Request]) -> list[dict[str, Any]]:
    answers = engine.generate(batch)
    outcomes = engine.outcomes()
    told = []
    for answer in answers:
        outcome = outcomes[answer.request_id]
        del outcome["request_id"], outcome["arrived"]
        told.append({**outcome, "tokens": answer.tokens, "stop": answer.stop_reason})
    return told


@pytest.mark.detects_dead
def test_several_random_answers_to_a_prompt_end_at_their_first_bad_token(
    drafting: Callable[..., Engine],
) -> None:
    """Whichever tokens the rejection sampler draws; the exempt ones beside them go on."""
    engine = drafting("ngram")
    params = {"temperature": 0.8, "n": 3, "max_tokens": batches.USUAL, "logprobs": 2}
    steers = itertools.cycle((True, False))
    batch = [
        Request(prompt * 2, {**params, "extra_args": {"steer": steer}})
        for prompt, steer in zip(batches.prompts(), steers)  # noqa: B905  (a cycle has no end)
    ]

    answers = engine.generate_many(batch)

    steered = [answer for of_one in answers[::2] for answer in of_one]
    exempt = [answer for of_one in answers[1::2] for answer in of_one]
    assert [a.tokens for a in steered] == [ended_at_first_bad(a.tokens) for a in steered]
    for answer in steered:
        assert all(
            str(t) in row for t, row in zip(answer.tokens, answer.logprobs or [], strict=True)
        )
    ended = [a for a in steered if a.stop_reason == "value_steer:abstained"]
    assert ended
    assert all(a.tokens[-1] == EOS and a.tokens[-2] in BAD_TOKENS for a in ended)
    assert any(set(a.tokens[:-2]) & BAD_TOKENS for a in exempt)


@pytest.mark.detects_dead
def test_the_stop_token_has_the_log_probability_that_the_model_gives_it(
    steered: Callable[..., Engine], drafting: Callable[..., Engine]
) -> None:
    """As in an engine without drafts, and so has every token before it."""
    batch = [Request(r.prompt, {**r.params, "logprobs": 3}) for r in batches.greedy()]

    without = steered(None, patience=2).generate(batch)
    drafted = drafting("same model", patience=2).generate(batch)

    for ours, theirs in zip(drafted, without, strict=True):
        assert ours.tokens == theirs.tokens
        for row, expected in zip(ours.logprobs or [], theirs.logprobs or [], strict=True):
            assert row == pytest.approx(expected, abs=_TOLERANCE)
    assert any(answer.stop_reason == "value_steer:abstained" for answer in drafted)


@pytest.mark.detects_dead
@pytest.mark.parametrize("kind", ["ngram", "other model"])
def test_preempted_requests_are_judged_as_if_never_interrupted(
    kind: str, plain: PlainEngine, drafting: Callable[..., Engine]
) -> None:
    """With a cache too small for the batch, and each value counted once."""
    first, crowding = 2 * batches.CROWDING // 3, batches.CROWDING
    engine = drafting(kind, batches.TIGHT, min_tokens=first, patience=2)
    natural = plain.generate(batches.greedy(crowding))
    before = engine.counters()["judged"]

    ended = engine.generate(batches.greedy(crowding))

    expected = [ended_at_first_bad(n.tokens, first_judged=first, patience=2) for n in natural]
    assert [a.tokens for a in ended] == expected
    assert engine.preemptions() > 0
    judged = [max(0, len(tokens) - first) for tokens in expected]
    assert engine.counters()["judged"] - before == sum(judged)
