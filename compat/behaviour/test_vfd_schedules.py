"""Value filtering under arrivals, lengths, ends and aborts in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.behaviour import batches
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import Arrival, EngineSpec, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import EnginePool, PlainEngine

pytestmark = [pytest.mark.mode("vfd"), pytest.mark.depth("equal")]


@st.composite
def _arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Requests that come and go while others are answered: all greedy, or all random and seeded.

    vLLM's CPU sampler draws a whole batch without its seeds as soon as one row has none.
    """
    prompts = batches.prompts()
    temperature = draw(st.sampled_from([0.0, 1.2]))
    return [
        Arrival(
            Request(
                draw(st.sampled_from(prompts)),
                {
                    "temperature": temperature,
                    "seed": draw(st.integers(0, 999)),
                    "max_tokens": draw(st.integers(1, 32)),
                    "extra_args": draw(st.sampled_from([{}, {}, {"steer": False}])),
                },
            ),
            at=draw(st.integers(0, 20)),
            aborted_at=draw(st.none() | st.none() | st.integers(21, 40)),
        )
        for _ in range(draw(st.integers(1, 12)))
    ]


@given(_arrivals())
def test_a_head_that_never_objects_changes_no_schedule(
    pool: EnginePool,
    plain: PlainEngine,
    constant_head: Callable[[float], str],
    arrivals: list[Arrival],
) -> None:
    """Token for token what plain vLLM gives; an aborted one may lack what was not judged yet."""
    vfd = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    engine = pool.get(EngineSpec(vfd=vfd))

    filtered = engine.run_schedule(arrivals)

    whole = [Arrival(arrival.request, arrival.at) for arrival in arrivals]
    for arrival, tokens, expected in zip(
        arrivals, filtered, plain.run_schedule(whole), strict=True
    ):
        assert tokens == (expected if arrival.aborted_at is None else expected[: len(tokens)])


@pytest.mark.detects_dead
@given(_arrivals())
def test_company_changes_no_filtered_response(
    pool: EnginePool, recognising_head: Callable[[str], str], arrivals: list[Arrival]
) -> None:
    """A request gets the tokens that it gets alone; an aborted one gets the beginning of them.

    Filtered ones hold no bad token as long as one of many candidates is a good one.
    """
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5, "num_candidates": 64}
    engine = pool.get(EngineSpec(vfd=vfd))
    # One request that is filtered for certain, so that a dead filter cannot pass.
    certain = {**arrivals[0].request.params, "seed": 0, "max_tokens": 30, "extra_args": {}}
    arrivals = [*arrivals, Arrival(Request([9, 10, 11], certain))]

    together = engine.run_schedule(arrivals)

    alone = [engine.run_schedule([Arrival(arrival.request)])[0] for arrival in arrivals]
    for arrival, tokens, expected in zip(arrivals, together, alone, strict=True):
        assert tokens == (expected if arrival.aborted_at is None else expected[: len(tokens)])
        if arrival.request.params.get("extra_args") != {"steer": False}:
            assert not BAD_TOKENS & set(tokens)
