"""Two ranks, scheduled by a third process, take the same decisions in both modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.messages import EngineSpec
from compat.behaviour.oracle import bad_tokens, ended_at_first_bad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = [pytest.mark.depth("equal"), pytest.mark.detects_dead, pytest.mark.two_devices]

TWO_RANKS = {"tensor_parallel_size": 2}
CORES = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}

_LENGTH = batches.USUAL // 2
"""Tokens of a response; one in six is a bad one."""


@pytest.fixture(scope="module")
def two_ranks(pool: EnginePool, recognising_head: Callable[[str], str]) -> Iterator[Engine]:
    """An engine on two ranks that does both; a request chooses by turning the other one off.

    Ranks wait busily, so it is not kept.
    """
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    spec = EngineSpec(abstain=section, vfd=section, options=TWO_RANKS, env=CORES)
    yield pool.get(spec)
    pool.discard(spec)


@pytest.mark.mode("abstain")
def test_tensor_parallel_ranks_agree(two_ranks: Engine) -> None:
    """With tensor parallelism the same requests end at the same tokens."""
    natural = two_ranks.generate(batches.greedy(_LENGTH, steer=False))

    answers = two_ranks.generate(batches.greedy(_LENGTH, vfd_threshold="never"))

    expected = [ended_at_first_bad(n.tokens) for n in natural]
    assert [a.tokens for a in answers] == expected
    assert expected != [n.tokens for n in natural]


@pytest.mark.mode("vfd")
def test_tensor_parallel_ranks_agree_on_every_token(
    two_ranks: Engine, filtering: Engine, plain: PlainEngine
) -> None:
    """They commit what one rank commits; what they do not filter is as ever."""
    natural = two_ranks.generate(batches.greedy(_LENGTH, steer=False))

    answers = two_ranks.generate(batches.greedy(_LENGTH, abstain_threshold="never"))

    assert [n.tokens for n in natural] == [
        n.tokens for n in plain.generate(batches.greedy(_LENGTH))
    ]
    alone = filtering.generate(batches.greedy(_LENGTH))
    assert [a.tokens for a in answers] == [a.tokens for a in alone]
    assert bad_tokens(natural) > 0 == bad_tokens(answers)
