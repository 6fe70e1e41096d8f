"""Prompts that are not plain token ids, adapters, sessions, and beams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches, tiny_models
from compat.behaviour.engines import EngineDiedError, EngineFailedError
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.oracle import bad_tokens, ended_at_first_bad
from compat.behaviour.tiny_models import EOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openai import OpenAI

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine
    from compat.behaviour.server import Server

pytestmark = pytest.mark.depth("equal")

_EMBEDDED = {"enable_prompt_embeds": True}
_ADAPTERS = {"enable_lora": True, "max_lora_rank": tiny_models.RANK, "max_loras": 1}
_TOKENS = batches.USUAL // 2
_AT_ONCE = 8 if batches.INTERPRETED else None
"""Requests of a batch with adapters: interpreted, plain vLLM gives one that enters later, and has
none, an adapter's tokens, and which ones depends on when it enters (seen with 0.28.0)."""


def _some_embedded(requests: list[Request]) -> list[Request]:
    return [Request(r.prompt, r.params, embedded=i % 3 > 0) for i, r in enumerate(requests)]


@pytest.fixture
def section(recognising_head: Callable[[str], str]) -> dict[str, object]:
    """Of a mode that objects to bad tokens."""
    return {"value_head_path": recognising_head("mistral"), "threshold": 0.5}


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
@pytest.mark.compiled  # Model Runner V2 takes no embeddings, where it is demanded
def test_prompts_may_be_embeddings_where_tokens_are_filtered(
    pool: EnginePool, filtering: Engine, section: dict[str, object]
) -> None:
    """Those of the tokens of a prompt give what the tokens give."""
    engine = pool.get(EngineSpec(vfd=section, options=_EMBEDDED))
    batch = batches.greedy(_TOKENS)

    answers = engine.generate(_some_embedded(batch))

    assert [a.tokens for a in answers] == [a.tokens for a in filtering.generate(batch)]
    assert bad_tokens(answers) == 0 < engine.counters()["interventions"]
    pool.discard(EngineSpec(vfd=section, options=_EMBEDDED))


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
@pytest.mark.compiled  # Model Runner V2 takes no embeddings, where it is demanded
def test_prompts_may_be_embeddings_where_requests_are_ended(
    pool: EnginePool, plain: PlainEngine, section: dict[str, object]
) -> None:
    """Each ends where it would have with the tokens of its prompt."""
    spec = EngineSpec(abstain=section, options=_EMBEDDED)
    batch = batches.greedy(_TOKENS)

    answers = pool.get(spec).generate(_some_embedded(batch))

    pool.discard(spec)
    assert [a.tokens for a in answers] == [
        ended_at_first_bad(n.tokens) for n in plain.generate(batch)
    ]


@pytest.fixture(scope="module")
def loads_adapters(pool: EnginePool) -> bool:
    """Whether plain vLLM does: its CPU build of 0.23.0 asks for a GPU where it is to load them."""
    try:
        pool.get(EngineSpec(options=_ADAPTERS))
    except EngineDiedError as died:
        if "Found no NVIDIA driver" not in str(died):
            raise
        return False
    return True


@pytest.mark.mode("vfd")
@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_requests_with_an_adapter_share_a_batch_with_others(
    pool: EnginePool, constant_head: Callable[[float], str], workshop: Path, *, loads_adapters: bool
) -> None:
    """A head that never objects changes none, nor do tokens that are run again and again."""
    adapter = str(tiny_models.adapter(workshop / "adapter")) if loads_adapters else None
    options = _ADAPTERS if loads_adapters else {}
    mixed = [
        Request(r.prompt, r.params, adapter=adapter if i % 2 else None)
        for i, r in enumerate(batches.greedy(_TOKENS)[:_AT_ONCE])
    ]
    plain = EngineSpec(options=options)
    natural, without = _answers(pool, plain, mixed, batches.greedy(_TOKENS)[:_AT_ONCE])
    tame = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    never = EngineSpec(abstain=tame, vfd=tame, options=options)
    strict = {"value_head_path": constant_head(0.1), "threshold": 0.5}
    again = EngineSpec(vfd={**strict, "fallback": "natural", "num_candidates": 3}, options=options)
    ending = EngineSpec(abstain={**strict, "min_tokens": 5}, options=options)

    assert _answers(pool, never, mixed) == [natural]
    assert _answers(pool, again, mixed) == [natural]
    assert _answers(pool, ending, mixed) == [[[*tokens[:5], EOS] for tokens in natural]]
    pairs = zip(natural[1::2], without[1::2], strict=True)
    assert all((n != w) is loads_adapters for n, w in pairs)


def _answers(pool: EnginePool, spec: EngineSpec, *asked: list[Request]) -> list[list[list[int]]]:
    answers = [[a.tokens for a in pool.get(spec).generate(batch)] for batch in asked]
    pool.discard(spec)
    return answers


_CHUNKS = [Request(prompt, {"temperature": 0.0, "max_tokens": 9}) for prompt in batches.prompts()]


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_each_answer_of_a_session_is_ended_at_its_first_bad_token(
    pool: EnginePool, section: dict[str, object]
) -> None:
    """A prompt that arrives in pieces; what comes after an end continues what was kept."""
    engine = pool.get(EngineSpec(abstain=section))
    natural = pool.get(EngineSpec()).converse(_CHUNKS[:1])

    answers = engine.converse(_CHUNKS[:4])

    assert answers[0] == ended_at_first_bad(natural[0])
    for answer in answers:
        assert not BAD_TOKENS & set(answer[:-2])
    exempt = {"extra_args": {"abstain_threshold": "never"}}
    whole = [Request(r.prompt, {**r.params, **exempt}) for r in _CHUNKS[:4]]
    assert engine.converse(whole) == pool.get(EngineSpec()).converse(_CHUNKS[:4])


@pytest.mark.mode("vfd")
def test_a_session_is_not_filtered_but_refused(pool: EnginePool, filtering: Engine) -> None:
    """With what to do about it; one that asks not to be filtered is served."""
    with pytest.raises(EngineFailedError, match="arrives in pieces cannot be filtered"):
        filtering.converse(_CHUNKS[:2])

    exempt = {"extra_args": {"vfd_threshold": "never"}}
    whole = [Request(r.prompt, {**r.params, **exempt}) for r in _CHUNKS[:4]]
    assert filtering.converse(whole) == pool.get(EngineSpec()).converse(_CHUNKS[:4])


@pytest.mark.mode("vfd")
@pytest.mark.mode("abstain")
def test_beam_search_is_refused(
    pool: EnginePool, filtering: Engine, section: dict[str, object]
) -> None:
    """It would be served unsteered; an engine that steers nothing searches beams."""
    for engine in (filtering, pool.get(EngineSpec(abstain=section))):
        with pytest.raises(EngineFailedError, match="its answers would be unsteered"):
            engine.search_beams([9, 10, 11], width=2, max_tokens=4)

    assert len(pool.get(EngineSpec()).search_beams([9, 10, 11], width=2, max_tokens=4)) == 2
    off = EngineSpec(vfd={**section, "enabled": False})
    assert len(pool.get(off).search_beams([9, 10, 11], width=2, max_tokens=4)) == 2


@pytest.fixture(scope="module")
def client(server: Server) -> OpenAI:
    """The official client."""
    from openai import OpenAI

    return OpenAI(base_url=server.url(), api_key="none", max_retries=0)


@pytest.mark.mode("vfd")
@pytest.mark.mode("abstain")
def test_beam_search_is_refused_over_http(client: OpenAI) -> None:
    """As a bad request, with the reason; the server answers on."""
    from openai import BadRequestError

    beams = {"use_beam_search": True}
    with pytest.raises(BadRequestError, match="its answers would be unsteered"):
        client.completions.create(
            model="tiny", prompt="w005 w006", max_tokens=4, n=2, extra_body=beams
        )
    with pytest.raises(BadRequestError, match="its answers would be unsteered"):
        client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "w005"}],
            max_tokens=4,
            n=2,
            extra_body=beams,
        )

    # Up to vLLM 0.22 the connection is closed behind such a reply, as a client may see too late.
    again = client.with_options(max_retries=1)
    assert again.completions.create(model="tiny", prompt="w005 w006", max_tokens=4).choices[0].text
