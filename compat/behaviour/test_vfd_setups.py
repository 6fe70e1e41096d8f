"""Abstention and value filtering in one engine, on the command line, and on two ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour import batches
from compat.behaviour.engines import EngineDiedError, EngineFailedError
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.server import serving
from compat.behaviour.tiny_models import EOS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from compat.behaviour.engines import Engine, EnginePool

_PROMPT = "w100 w101 w102"
_TWO_RANKS = {"tensor_parallel_size": 2}
_ENV = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}


@pytest.mark.mode("vfd")
@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_abstention_and_filtering_share_an_engine(
    pool: EnginePool,
    recognising_head: Callable[[str], str],
    constant_head: Callable[[float], str],
) -> None:
    """A request filters until its own abstention ends it; the others filter on."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    filtered = pool.get(EngineSpec(vfd=vfd)).generate(batches.greedy(40))
    abstain = {"value_head_path": constant_head(0.4), "threshold": 0.2, "min_tokens": 5}
    engine = pool.get(EngineSpec(abstain=abstain, vfd=vfd))
    batch = [
        Request(
            a.prompt, {**a.params, "extra_args": {"abstain_threshold": 0.5}} if i % 2 else a.params
        )
        for i, a in enumerate(batches.greedy(40))
    ]

    answers = [answer.tokens for answer in engine.generate(batch)]

    assert answers == [
        [*alone.tokens[:5], EOS] if i % 2 else alone.tokens for i, alone in enumerate(filtered)
    ]


@pytest.mark.mode("vfd")
@pytest.mark.depth("equal")
@pytest.mark.detects_dead
def test_tensor_parallel_ranks_agree_on_every_token(
    pool: EnginePool, plain: Engine, recognising_head: Callable[[str], str]
) -> None:
    """Two ranks, scheduled by a third process, filter; what they do not filter is as ever."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    engine = pool.get(EngineSpec(vfd=vfd, options=_TWO_RANKS, env=_ENV))
    natural = engine.generate(batches.greedy(steer=False))

    answers = engine.generate(batches.greedy())

    assert [n.tokens for n in natural] == [n.tokens for n in plain.generate(batches.greedy())]
    assert not any(token in BAD_TOKENS for answer in answers for token in answer.tokens)
    assert [a.tokens for a in answers] != [n.tokens for n in natural]


@pytest.mark.mode("vfd")
@pytest.mark.depth("fires")
def test_a_scheduler_that_reserves_no_slot_is_refused(
    pool: EnginePool, recognising_head: Callable[[str], str]
) -> None:
    """Where another process schedules and has not loaded value-steer, the engine does not start."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    env = {**_ENV, "VLLM_PLUGINS": "none_of_them"}

    with pytest.raises((EngineDiedError, EngineFailedError), match="install value-steer as a pack"):
        pool.get(EngineSpec(vfd=vfd, options=_TWO_RANKS, env=env))


@pytest.mark.mode("vfd")
@pytest.mark.depth("fires")
def test_a_scheduler_of_another_kind_is_refused(
    pool: EnginePool, recognising_head: Callable[[str], str]
) -> None:
    """One that is not derived from vLLM's own would never repeat a step: requests would hang."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}

    with pytest.raises(EngineDiedError, match="reserves no slot"):
        pool.get(EngineSpec(vfd=vfd, options={"scheduler_cls": "builtins.object"}))


@pytest.fixture(scope="module")
def client(
    workshop: Path, model_of: Callable[[str], Path], recognising_head: Callable[[str], str]
) -> Iterator[Any]:
    """The official client of a server that filters bad tokens."""
    from openai import OpenAI

    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    with serving(model_of("mistral"), {"vfd": vfd}, workshop / "filtering.log") as url:
        yield OpenAI(base_url=url, api_key="none", max_retries=0)


@pytest.mark.mode("vfd")
@pytest.mark.depth("fires")
@pytest.mark.detects_dead
def test_a_completion_over_http_is_filtered(client: Any) -> None:
    """The same request with and without steering, told apart by vllm_xargs alone."""
    natural = _complete(client, vllm_xargs={"steer": False})
    never = _complete(client, vllm_xargs={"vfd_threshold": "never"})
    filtered = _complete(client)

    assert never == natural
    assert BAD_TOKENS & set(natural)
    assert not BAD_TOKENS & set(filtered)


def _complete(client: Any, **extra: object) -> list[int]:
    completion = client.completions.create(
        model="tiny", prompt=_PROMPT, max_tokens=60, temperature=0.0, extra_body=extra or None
    )
    return [int(word[1:]) for word in completion.choices[0].text.split() if word[1:].isdigit()]
