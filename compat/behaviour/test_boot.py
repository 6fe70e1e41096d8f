"""Plain vLLM boots here at all, and every engine schedules as the lane says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour.engines import ASYNCHRONOUS
from compat.behaviour.messages import LATE, EngineSpec, Request, Scheduling
from compat.behaviour.test_tensor_parallel import CORES, TWO_RANKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai import OpenAI

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine
    from compat.behaviour.server import Server

_REQUEST = Request([5, 6, 7], {"temperature": 0.0, "max_tokens": 8})


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    """The official client; a connection that it left open would fail whichever test comes later."""
    from openai import OpenAI

    with OpenAI(base_url=server.url(), api_key="none", max_retries=0) as official:
        yield official


@pytest.mark.mode("abstain")
@pytest.mark.depth("boots")
def test_plain_engine_generates(plain: PlainEngine) -> None:
    """Plain vLLM boots and generates as many tokens as it is asked for."""
    (answer,) = plain.generate([_REQUEST])

    assert len(answer.tokens) == 8
    assert answer.finish_reason == "length"


@pytest.mark.mode("abstain")
@pytest.mark.mode("vfd")
@pytest.mark.depth("boots")
@pytest.mark.sentinel("scheduling")
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(EngineSpec(), id="one-process"),
        pytest.param(
            EngineSpec(options=TWO_RANKS, env=CORES), id="two-ranks", marks=pytest.mark.two_devices
        ),
    ],
)
def test_plain_vllm_schedules_as_the_lane_says(pool: EnginePool, spec: EngineSpec) -> None:
    """Asynchronously on a GPU and where a CPU is made to, and nowhere else."""
    engine = pool.get(spec)
    engine.generate([_REQUEST])

    found = engine.scheduling()
    ahead = ASYNCHRONOUS or found.device != "cpu"
    assert found == Scheduling(found.device, asynchronous=ahead, queued=ahead, ahead=ahead)
    assert (LATE in engine.log()) == ASYNCHRONOUS
    if spec.options:
        pool.discard(spec)  # its ranks would wait busily


@pytest.mark.mode("vfd")
@pytest.mark.depth("fires")
def test_an_engine_that_filters_schedules_as_plain_vllm_does(
    filtering: Engine, pool: EnginePool
) -> None:
    """A step is scheduled ahead of the last one's tokens if it would be without value-steer."""
    filtering.generate([_REQUEST])

    found, expected = filtering.scheduling(), pool.get(EngineSpec()).scheduling()
    assert (found.asynchronous, found.queued) == (expected.asynchronous, expected.queued)
    assert (LATE in filtering.log()) == ASYNCHRONOUS


@pytest.mark.mode("abstain")
@pytest.mark.mode("vfd")
@pytest.mark.depth("fires")
def test_the_server_schedules_as_the_lane_says(server: Server, client: OpenAI) -> None:
    """Its configuration is made in one process, its steps in another."""
    client.completions.create(model="tiny", prompt="w005 w006", max_tokens=4)

    assert (LATE in server.log()) == ASYNCHRONOUS
