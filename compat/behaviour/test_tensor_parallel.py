"""Two ranks take the same decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.messages import EngineSpec
from compat.behaviour.oracle import ended_at_first_bad

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import EnginePool

pytestmark = [pytest.mark.mode("abstain"), pytest.mark.depth("equal")]

_TWO_RANKS = {"tensor_parallel_size": 2}
_ENV = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}


@pytest.mark.detects_dead
def test_tensor_parallel_ranks_agree(
    pool: EnginePool, recognising_head: Callable[[str], str]
) -> None:
    """With tensor parallelism the same requests end at the same tokens."""
    abstain = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    engine = pool.get(EngineSpec(abstain=abstain, options=_TWO_RANKS, env=_ENV))
    natural = engine.generate(batches.greedy(steer=False))

    answers = engine.generate(batches.greedy())

    expected = [ended_at_first_bad(n.tokens) for n in natural]
    assert [a.tokens for a in answers] == expected
    assert expected != [n.tokens for n in natural]
