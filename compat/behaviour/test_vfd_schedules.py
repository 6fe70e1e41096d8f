"""Value filtering under arrivals, lengths, ends and aborts in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.behaviour import requests
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.wire import Ask, EngineSpec, Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import Engine, EnginePool

pytestmark = [pytest.mark.mode("vfd"), pytest.mark.depth("equal")]


@st.composite
def _jobs(draw: st.DrawFn) -> list[Job]:
    """Requests that come and go while others are answered: all greedy, or all random and seeded.

    vLLM's CPU sampler draws a whole batch without its seeds as soon as one row has none.
    """
    prompts = requests.prompts()
    temperature = draw(st.sampled_from([0.0, 1.2]))
    return [
        Job(
            Ask(
                draw(st.sampled_from(prompts)),
                {
                    "temperature": temperature,
                    "seed": draw(st.integers(0, 999)),
                    "max_tokens": draw(st.integers(1, 48)),
                    "extra_args": draw(st.sampled_from([{}, {}, {"steer": False}])),
                },
            ),
            at=draw(st.integers(0, 30)),
            aborted_at=draw(st.none() | st.none() | st.integers(31, 60)),
        )
        for _ in range(draw(st.integers(1, 12)))
    ]


@given(_jobs())
def test_a_head_that_never_objects_changes_no_schedule(
    pool: EnginePool, plain: Engine, constant_head: Callable[[float], str], jobs: list[Job]
) -> None:
    """Token for token what plain vLLM gives to the same arrivals and aborts."""
    vfd = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    engine = pool.get(EngineSpec(vfd=vfd))

    assert engine.play(jobs) == plain.play(jobs)


@pytest.mark.detects_dead
@given(_jobs())
def test_company_changes_no_filtered_response(
    pool: EnginePool, recognising_head: Callable[[str], str], jobs: list[Job]
) -> None:
    """What a request gets is what it gets alone; an aborted one gets the beginning of it.

    Filtered ones hold no bad token as long as one of many candidates is a good one.
    """
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5, "num_candidates": 64}
    engine = pool.get(EngineSpec(vfd=vfd))
    # One request that is filtered for certain, so that a dead filter cannot pass.
    certain = {**jobs[0].ask.params, "seed": 0, "max_tokens": 40, "extra_args": {}}
    jobs = [*jobs, Job(Ask([9, 10, 11], certain))]

    together = engine.play(jobs)

    alone = [engine.play([Job(job.ask)])[0] for job in jobs]
    for job, tokens, expected in zip(jobs, together, alone, strict=True):
        assert tokens == (expected if job.aborted_at is None else expected[: len(tokens)])
        if job.ask.params.get("extra_args") != {"steer": False}:
            assert not BAD_TOKENS & set(tokens)
