"""Every step is followed, whoever makes it and whatever else hangs on the model runner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.engines import EngineDiedError, EngineFailedError
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.oracle import ended_at_first_bad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = [pytest.mark.mode("abstain"), pytest.mark.depth("fires")]


def _greedy() -> list[Request]:
    return [Request(p, {"temperature": 0.0, "max_tokens": 24}) for p in batches.prompts()]


def _assert_steered(engine: Engine, plain: PlainEngine) -> None:
    """Every answer is plain vLLM's, up to the first bad token."""
    requests = _greedy()
    natural = [answer.tokens for answer in plain.generate(requests)]
    expected = [ended_at_first_bad(tokens) for tokens in natural]

    assert [answer.tokens for answer in engine.generate(requests)] == expected
    assert expected != natural


def test_a_warm_up_that_makes_steps_of_its_own_passes_through(
    pool: EnginePool, plain: PlainEngine, recognising_head: Callable[[str], str]
) -> None:
    """As on an accelerator, where it calls the worker's own two methods before anything serves."""
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    worker = "compat.behaviour.warming.WarmingWorker"

    _assert_steered(pool.get(EngineSpec(abstain=section, worker=worker)), plain)


def test_a_step_that_was_not_announced_is_not_served(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """An executor that goes past the seam gets an error, not an unsteered answer."""
    abstain = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    spec = EngineSpec(abstain=abstain, worker="compat.behaviour.broken.BypassedWorker")

    with pytest.raises(EngineFailedError, match="was not told"):
        pool.get(spec).generate(_greedy())
    pool.discard(spec)


def test_calls_that_are_replaced_are_noticed_before_serving(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """The self-test goes through them as an executor does."""
    abstain = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    spec = EngineSpec(abstain=abstain, worker="compat.behaviour.broken.UnfollowedWorker")

    with pytest.raises(EngineDiedError, match="was not told"):
        pool.get(spec)


def test_a_kv_connector_may_move_the_cache(
    pool: EnginePool,
    plain: PlainEngine,
    recognising_head: Callable[[str], str],
    workshop: Path,
) -> None:
    """It never sees the synthetic request of the self-test, and abstention acts as ever."""
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    connector = {
        "kv_connector": "ExampleConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"shared_storage_path": str(workshop / "kv")},
    }
    unsteered = EngineSpec(options={"kv_transfer_config": connector})
    spec = replace(unsteered, abstain=section)

    engine = pool.get(spec)
    try:
        pool.get(unsteered).generate(_greedy())
    except EngineFailedError:  # the example cannot read a CPU's cache in the oldest releases
        with pytest.raises(EngineFailedError):
            engine.generate(_greedy())
    else:
        _assert_steered(engine, plain)
    pool.discard(spec)
    pool.discard(unsteered)
