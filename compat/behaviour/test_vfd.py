"""Value filtering commits acceptable tokens, and leaves everything else alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.engines import EngineFailedError
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import SMALLEST, EngineSpec, Request
from compat.behaviour.oracle import bad_tokens
from compat.behaviour.tiny_models import EOS, FIRST_WORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = pytest.mark.mode("vfd")

_GREEDY = {"ignore_eos": True, "temperature": 0.0}


@pytest.fixture(scope="module")
def seeds_survive_chunks(pool: EnginePool) -> bool:
    """Whether plain vLLM serves a seeded request whose prompt arrives in chunks.

    Some releases take the draw of an unfinished prompt back in a way that only CUDA's generators
    can; there the requests of that test take their most probable tokens instead.
    """
    spec = EngineSpec(options=batches.CHUNKED)
    long = Request([FIRST_WORD] * 100, {"seed": 1, "max_tokens": 1})
    try:
        pool.get(spec).generate([long])
    except EngineFailedError as error:
        if "offset" not in str(error):
            raise
        return False
    finally:
        pool.discard(spec)
    return True


@pytest.mark.depth("fires")
@pytest.mark.sentinel("vfd_candidate_filters")
@pytest.mark.detects_dead
def test_vfd_candidate_filters(filtering: Engine, plain: PlainEngine) -> None:
    """Bad tokens never appear while one of a request's candidates is acceptable."""
    before = filtering.counters()
    batch = batches.seeded(24, extra_args=batches.MANY_CANDIDATES)

    answers = filtering.generate(batch)

    assert bad_tokens(plain.generate(batch)) > 50
    assert (
        bad_tokens(answers) == filtering.counters()["no_acceptable"] - before["no_acceptable"] == 0
    )
    assert filtering.counters()["interventions"] > before["interventions"]


@pytest.mark.depth("equal")
@pytest.mark.parametrize(
    "batch", [batches.greedy(batches.LONG), batches.SEEDED], ids=["greedy", "sampled"]
)
@pytest.mark.parametrize(
    "options", [{"block_size": SMALLEST}, batches.CHUNKED], ids=["whole prompts", "chunked"]
)
def test_a_head_that_never_objects_changes_nothing(
    batch: list[Request],
    options: dict[str, object],
    pool: EnginePool,
    plain: PlainEngine,
    constant_head: Callable[[float], str],
    seeds_survive_chunks: bool,  # noqa: FBT001  (a fixture)
) -> None:
    """Tokens equal plain vLLM's, greedy and seeded, feature by feature, and log-probabilities do.

    The latter up to rounding: a step that was run ahead may hold a row that has ended by then, and
    products of another shape round otherwise.
    """
    common = (
        {"ignore_eos": True} if seeds_survive_chunks or options is not batches.CHUNKED else _GREEDY
    )
    batch = [
        Request(request.prompt, {**request.params, **common, "max_tokens": batches.LONG + 3 * i})
        for i, request in enumerate(batch)
    ]
    natural = plain.generate(batch)
    vfd = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    engine = pool.get(EngineSpec(vfd=vfd, options=options))

    answers = engine.generate(batch)

    assert [a.tokens for a in answers] == [n.tokens for n in natural]
    for answer, own in zip(answers, natural, strict=True):
        for row, expected in zip(answer.logprobs or [], own.logprobs or [], strict=True):
            assert row == pytest.approx(expected, abs=1e-5)
    assert min(len(a.tokens) for a in answers) >= batches.LONG
    assert engine.counters()["interventions"] == 0


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_preempted_requests_are_filtered_as_if_never_interrupted(
    pool: EnginePool, filtering: Engine, recognising_head: Callable[[str], str]
) -> None:
    """A KV cache too small for the batch, small blocks and chunks change no token."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    cramped = pool.get(EngineSpec(vfd=vfd, options=batches.TIGHT))
    batch = batches.greedy(batches.CROWDING)

    answers = cramped.generate(batch)

    assert [a.tokens for a in answers] == [a.tokens for a in filtering.generate(batch)]
    assert bad_tokens(answers) == 0
    assert cramped.preemptions() > 0


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_a_greedy_request_takes_its_most_probable_acceptable_token(
    filtering: Engine, plain: PlainEngine
) -> None:
    """Every token is the first in the order of probability that is not a bad one."""
    params = {"temperature": 0.0, "max_tokens": 1, "logprobs": 20}
    natural = plain.generate([Request(prompt, params) for prompt in batches.prompts()])

    answers = filtering.generate(batches.greedy(1))

    def first_good(row: dict[str, float]) -> int:
        ranked = sorted(map(int, row), key=lambda token: -row[str(token)])
        return next(token for token in ranked if token not in BAD_TOKENS)

    rows = [n.logprobs[0] for n in natural if n.logprobs]
    assert [a.tokens[0] for a in answers] == [first_good(row) for row in rows]
    assert bad_tokens(natural) > 0


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_greedy_responses_equal_the_reference(
    filtering: Engine, model_of: Callable[[str], Path], recognising_head: Callable[[str], str]
) -> None:
    """Token for token what the plain algorithm gives on transformers' own model."""
    from transformers import AutoModelForCausalLM

    from value_steer.reference import Reference
    from value_steer.value_probe import Polarity, load_value_head, oriented

    model = AutoModelForCausalLM.from_pretrained(model_of("mistral")).eval()
    head = oriented(load_value_head(recognising_head("mistral")), Polarity.P_UNDESIRABLE).head
    reference = Reference(model, head, threshold=0.5, max_tokens=24, eos=EOS)

    answers = filtering.generate(batches.greedy(24))

    assert [a.tokens for a in answers] == [reference.filter(p) for p in batches.prompts()]


@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_the_last_token_of_a_full_sequence_is_filtered_too(
    pool: EnginePool, recognising_head: Callable[[str], str]
) -> None:
    """Sequences that grow to max_model_len hold no bad token, the last one included."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    options = {"max_model_len": 64, "block_size": SMALLEST}
    engine = pool.get(EngineSpec(vfd=vfd, options=options))
    batch = [
        Request(
            [9 + i] * (20 + i),
            {"temperature": 1.5, "seed": i, "extra_args": batches.MANY_CANDIDATES},
        )
        for i in range(16)
    ]

    answers = engine.generate(
        [Request(a.prompt, {**a.params, "max_tokens": 500, "ignore_eos": True}) for a in batch]
    )

    assert [len(a.tokens) + len(b.prompt) for a, b in zip(answers, batch, strict=True)] == [64] * 16
    assert bad_tokens(answers) == 0
