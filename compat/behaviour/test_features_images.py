"""Prompts with an image in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches, heads, tiny_images
from compat.behaviour.messages import EngineSpec
from compat.behaviour.oracle import bad_tokens, ended_at_first_bad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from compat.behaviour.engines import EnginePool
    from compat.behaviour.messages import Request

pytestmark = [pytest.mark.mode("abstain"), pytest.mark.depth("equal")]

_SPEC = EngineSpec(model="blip2")


@pytest.fixture(scope="module")
def section(workshop: Path, model_of: Callable[[str], Path]) -> dict[str, object]:
    """Of a mode that objects to bad tokens."""
    language = model_of("blip2") / tiny_images.LANGUAGE
    head = heads.token_recognising(language, workshop / "recognising-blip2.safetensors")
    return {"value_head_path": str(head), "threshold": 0.5}


@pytest.fixture(scope="module")
def natural(pool: EnginePool) -> Iterator[list[list[int]]]:
    """Plain vLLM's answers; an image makes a difference."""
    engine = pool.get(_SPEC)
    answers = [[a.tokens for a in engine.generate(batch)] for batch in (_prompts(), _USUAL)]
    assert answers[0] != answers[1]
    yield answers[0]
    pool.discard(_SPEC)


_USUAL = batches.greedy(batches.USUAL // 2)


def _prompts() -> list[Request]:
    """Two of three have an image."""
    return [replace(r, image=i if i % 3 else None) for i, r in enumerate(_USUAL)]


@pytest.mark.detects_dead
def test_answers_to_images_are_ended(
    pool: EnginePool, section: dict[str, object], natural: list[list[int]]
) -> None:
    """Each at its own first bad token, beside answers to plain prompts."""
    spec = replace(_SPEC, abstain=section)
    answers = pool.get(spec).generate(_prompts())

    assert [a.tokens for a in answers] == [ended_at_first_bad(tokens) for tokens in natural]
    pool.discard(spec)


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
def test_answers_to_images_are_filtered(
    pool: EnginePool, section: dict[str, object], natural: list[list[int]]
) -> None:
    """No bad token comes out; with a head whose objections do not count, nothing changes."""
    spec = replace(_SPEC, vfd=section)
    engine = pool.get(spec)

    exempt = [
        replace(r, params={**r.params, "extra_args": {"vfd_threshold": "never"}})
        for r in _prompts()
    ]
    assert [a.tokens for a in engine.generate(exempt)] == natural
    assert bad_tokens(engine.generate(_prompts())) == 0 < engine.counters()["interventions"]
    pool.discard(spec)
