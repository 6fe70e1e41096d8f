"""Value filtering commits acceptable tokens, and leaves everything else alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import requests
from compat.behaviour.engines import EngineFailedError
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.tiny_models import EOS, FIRST_WORD
from compat.behaviour.wire import CACHE_TOKENS, SMALLEST, Ask, EngineSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from compat.behaviour.engines import Engine, EnginePool
    from compat.behaviour.wire import Answer

pytestmark = pytest.mark.mode("vfd")

CHUNKED = {"max_num_batched_tokens": 64, "block_size": SMALLEST, "max_num_seqs": 5}
"""Prompts arrive in chunks and in turns, so prefill and decode rows share every early step."""

SEEDED = [ask for ask in requests.sampled(requests.LONG) if ask.params["temperature"] > 0]
"""vLLM's CPU sampler draws a batch without its seeds as soon as one request has none."""


_GREEDY = {"ignore_eos": True, "temperature": 0.0}


@pytest.fixture(scope="module")
def seeds_survive_chunks(pool: EnginePool) -> bool:
    """Whether plain vLLM serves a seeded request whose prompt arrives in chunks.

    Some releases take the draw of an unfinished prompt back in a way that only CUDA's generators
    can; there the requests of that test take their most probable tokens instead.
    """
    spec = EngineSpec(options=CHUNKED)
    long = Ask([FIRST_WORD] * 100, {"seed": 1, "max_tokens": 1})
    try:
        pool.get(spec).generate([long])
    except EngineFailedError as error:
        if "offset" not in str(error):
            raise
        return False
    finally:
        pool.discard(spec)
    return True


@pytest.fixture
def engine(pool: EnginePool, recognising_head: Callable[[str], str]) -> Engine:
    """An engine that filters bad tokens."""
    return pool.get(EngineSpec(vfd=_filtering(recognising_head)))


def _filtering(recognising_head: Callable[[str], str], **keys: object) -> dict[str, object]:
    return {"value_head_path": recognising_head("mistral"), "threshold": 0.5, **keys}


def _bad(answers: Sequence[Answer]) -> int:
    return sum(token in BAD_TOKENS for answer in answers for token in answer.tokens)


_MANY = {"vfd_num_candidates": 40}


def _seeded(count: int, **params: object) -> list[Ask]:
    base = {"temperature": 1.5, "max_tokens": 60, **params}
    prompts = requests.prompts()
    return [Ask(prompts[i % len(prompts)], {**base, "seed": i}) for i in range(count)]


@pytest.mark.depth("fires")
@pytest.mark.sentinel("vfd_candidate_filters")
@pytest.mark.detects_dead
def test_vfd_candidate_filters(engine: Engine, plain: Engine) -> None:
    """Bad tokens never appear while one of a request's candidates is acceptable."""
    before = engine.counters()
    batch = _seeded(24, extra_args=_MANY)

    answers = engine.generate(batch)

    assert _bad(plain.generate(batch)) > 50
    assert _bad(answers) == engine.counters()["no_acceptable"] - before["no_acceptable"] == 0
    assert engine.counters()["interventions"] > before["interventions"]


@pytest.mark.depth("equal")
@pytest.mark.parametrize(
    "batch", [requests.greedy(requests.LONG), SEEDED], ids=["greedy", "sampled"]
)
@pytest.mark.parametrize("options", [{}, CHUNKED], ids=["whole prompts", "chunked"])
def test_a_head_that_never_objects_changes_nothing(
    batch: list[Ask],
    options: dict[str, object],
    pool: EnginePool,
    plain: Engine,
    constant_head: Callable[[float], str],
    seeds_survive_chunks: bool,  # noqa: FBT001  (a fixture)
) -> None:
    """Tokens equal plain vLLM's, greedy and seeded, feature by feature, and log-probabilities do.

    The latter up to rounding: a step that was run ahead may hold a row that has ended by then, and
    products of another shape round otherwise.
    """
    common = {"ignore_eos": True} if seeds_survive_chunks or not options else _GREEDY
    batch = [
        Ask(ask.prompt, {**ask.params, **common, "max_tokens": requests.LONG + 3 * i})
        for i, ask in enumerate(batch)
    ]
    natural = plain.generate(batch)
    vfd = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    engine = pool.get(EngineSpec(vfd=vfd, options=options))

    answers = engine.generate(batch)

    assert [a.tokens for a in answers] == [n.tokens for n in natural]
    for answer, own in zip(answers, natural, strict=True):
        for row, expected in zip(answer.logprobs or [], own.logprobs or [], strict=True):
            assert row == pytest.approx(expected, abs=1e-5)
    assert min(len(a.tokens) for a in answers) >= requests.LONG
    assert engine.counters()["interventions"] == 0


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_preempted_requests_are_filtered_as_if_never_interrupted(
    pool: EnginePool, engine: Engine, recognising_head: Callable[[str], str]
) -> None:
    """A KV cache too small for the batch, small blocks and chunks change no token."""
    tight = {**CHUNKED, CACHE_TOKENS: 544, "disable_log_stats": False}
    cramped = pool.get(EngineSpec(vfd=_filtering(recognising_head), options=tight))
    batch = requests.greedy(120)

    answers = cramped.generate(batch)

    assert [a.tokens for a in answers] == [a.tokens for a in engine.generate(batch)]
    assert _bad(answers) == 0
    assert cramped.preemptions() > 0


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_a_greedy_request_takes_its_most_probable_acceptable_token(
    engine: Engine, plain: Engine
) -> None:
    """Every token is the first in the order of probability that is not a bad one."""
    params = {"temperature": 0.0, "max_tokens": 1, "logprobs": 20}
    natural = plain.generate([Ask(prompt, params) for prompt in requests.prompts()])

    answers = engine.generate(requests.greedy(1))

    def first_good(row: dict[str, float]) -> int:
        ranked = sorted(map(int, row), key=lambda token: -row[str(token)])
        return next(token for token in ranked if token not in BAD_TOKENS)

    rows = [n.logprobs[0] for n in natural if n.logprobs]
    assert [a.tokens[0] for a in answers] == [first_good(row) for row in rows]
    assert _bad(natural) > 0


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_greedy_responses_equal_the_reference(
    engine: Engine, model_of: Callable[[str], Path], recognising_head: Callable[[str], str]
) -> None:
    """Token for token what the plain algorithm gives on transformers' own model."""
    from transformers import AutoModelForCausalLM

    from value_steer.reference import Reference
    from value_steer.value_probe import Polarity, load_value_head, oriented

    model = AutoModelForCausalLM.from_pretrained(model_of("mistral")).eval()
    head = oriented(load_value_head(recognising_head("mistral")), Polarity.P_UNDESIRABLE).head
    reference = Reference(model, head, threshold=0.5, max_tokens=40, eos=EOS)

    answers = engine.generate(requests.greedy(40))

    assert [a.tokens for a in answers] == [reference.filter(p) for p in requests.prompts()]


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_settings_differ_within_a_batch(engine: Engine, plain: Engine) -> None:
    """Each request gets what it asked for; one candidate is the one drawn, sampled ones too."""
    own = [
        *({"vfd_threshold": "never"}, {"steer": False}, {"steer": "false"}),
        *({"vfd_threshold": 1.0}, {"vfd_num_candidates": 1}, {}),
    ]
    batch = [
        Ask(ask.prompt, {**ask.params, "extra_args": own[i % len(own)]})
        for i, ask in enumerate(requests.greedy())
    ]
    natural = plain.generate(batch)
    filtered = engine.generate(requests.greedy())

    answers = engine.generate(batch)

    last = len(own) - 1
    for i, answer in enumerate(answers):
        expected = filtered[i] if i % len(own) == last else natural[i]
        assert answer.tokens == expected.tokens
    assert _bad(answers[last :: len(own)]) == 0 < _bad(natural[last :: len(own)])

    drawn = plain.generate(_seeded(12))
    alone = engine.generate(_seeded(12, extra_args={"vfd_num_candidates": 1}))
    assert [a.tokens for a in alone] == [d.tokens for d in drawn]


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.compiled
def test_logprobs_belong_to_the_committed_token(engine: Engine, plain: Engine) -> None:
    """The row of a token that replaces the drawn one holds the model's own log-probability."""
    batch = _seeded(8, logprobs=20, top_k=20, max_tokens=1)
    natural = plain.generate(batch)

    answers = engine.generate(batch)

    for answer, drawn in zip(answers, natural, strict=True):
        assert answer.logprobs is not None
        assert drawn.logprobs is not None
        token = str(answer.tokens[0])
        assert answer.logprobs[0][token] == pytest.approx(drawn.logprobs[0][token], abs=1e-5)
    assert [a.tokens for a in answers] != [n.tokens for n in natural]


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.compiled
def test_a_grammar_is_kept_while_its_tokens_are_filtered(engine: Engine, plain: Engine) -> None:
    """Candidates come from what the grammar allows, and there is always a good one here."""
    grammar = {"structured_outputs": {"regex": "(w05[0-9]w06[0-9]){5}"}}
    batch = _seeded(12, extra_args=_MANY, **grammar)

    answers = engine.generate(batch)

    for answer in answers:
        body = [token for token in answer.tokens if token >= FIRST_WORD]
        assert [token // 10 for token in body] == [5, 6] * 5
    assert _bad(answers) == 0 < _bad(plain.generate(batch))


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.parametrize("extra_args", [{"vfd_threshold": 2}, {"vfd_alpha": 0.1}, {"vfd_k": 4}])
def test_a_bad_request_is_ended_and_harms_no_other(
    extra_args: dict[str, object], engine: Engine
) -> None:
    """A request with a wrong setting ends at once; the ones beside it are served as ever."""
    alone = engine.generate(requests.greedy(10))
    bad = Ask([8, 9, 10], {"temperature": 0.0, "max_tokens": 60, "extra_args": extra_args})

    *answers, ended = engine.generate([*requests.greedy(10), bad])

    assert [a.tokens for a in answers] == [a.tokens for a in alone]
    assert ended.tokens == [EOS]
    (key,) = extra_args
    assert key in engine.outcomes()[ended.request_id]["refused"]


@pytest.mark.depth("fires")
@pytest.mark.detects_dead
def test_outcomes_say_what_was_done(engine: Engine) -> None:
    """Each request's interventions are known, and they add up to the counters."""
    before = engine.counters()
    answers = engine.generate(requests.greedy())
    outcomes = engine.outcomes()
    after = engine.counters()

    mine = [outcomes[answer.request_id] for answer in answers]

    done = sum(outcome["interventions"] for outcome in mine)
    assert done == after["interventions"] - before["interventions"] > 0
    assert all(0 <= outcome["p_undesirable"] < 0.5 for outcome in mine)
    assert {outcome["vfd_threshold"] for outcome in mine} == {0.5}


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_the_last_token_of_a_full_sequence_is_filtered_too(
    pool: EnginePool, recognising_head: Callable[[str], str]
) -> None:
    """Sequences that grow to max_model_len hold no bad token, the last one included."""
    options = {"max_model_len": 64, "block_size": SMALLEST}
    engine = pool.get(EngineSpec(vfd=_filtering(recognising_head), options=options))
    batch = [
        Ask([9 + i] * (20 + i), {"temperature": 1.5, "seed": i, "extra_args": _MANY})
        for i in range(16)
    ]

    answers = engine.generate(
        [Ask(a.prompt, {**a.params, "max_tokens": 500, "ignore_eos": True}) for a in batch]
    )

    assert [len(a.tokens) + len(b.prompt) for a, b in zip(answers, batch, strict=True)] == [64] * 16
    assert _bad(answers) == 0


@pytest.mark.depth("fires")
@pytest.mark.detects_dead
@pytest.mark.parametrize("fallback", ["argmin", "args", "natural", "abstain"])
def test_a_request_without_an_acceptable_candidate_falls_back(
    fallback: str, pool: EnginePool, plain: Engine, constant_head: Callable[[float], str]
) -> None:
    """With a head that objects to everything alike, the first draw stands or the request ends."""
    vfd = {"value_head_path": constant_head(0.1), "threshold": 0.5, "fallback": fallback}
    engine = pool.get(EngineSpec(vfd=vfd))
    batch = [Ask(a.prompt, {**a.params, "max_tokens": 20}) for a in SEEDED]
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
