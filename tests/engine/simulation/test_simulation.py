"""Whatever the schedule, every request is given what it would be given alone."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.simulation.check import check
from tests.engine.simulation.traces import Ask, Trace, drawn

TRACES = int(os.environ.get("VALUE_STEER_TRACES", "3000"))
PARTS = 6


@pytest.mark.parametrize("seed", [500_369])
def test_what_went_wrong_once_goes_right(seed: int) -> None:
    """A draw kept over a preemption was looked for at a position that others had grown to."""
    check(drawn(random.Random(seed)))  # noqa: S311  (no secret)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_schedule_changes_nothing(part: int) -> None:
    """Chunks, skipped rows, preemptions, resets, aborts, one step in flight or two."""
    for seed in range(part, TRACES, PARTS):
        try:
            check(drawn(random.Random(seed)))  # noqa: S311  (no secret)
        except Exception as error:
            msg = f"python -m tests.engine.simulation --traces 1 --seed {seed}"
            raise AssertionError(msg) from error


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_the_schedule_changes_nothing_searched(source: random.Random) -> None:
    """The same with choices that shrink."""
    check(drawn(source))


ONE = Ask(prompt=(2, 3), most=4, seed=5)


@pytest.mark.parametrize("runner", ["v1", "v2"])
def test_asynchronous_scheduling_runs_ahead_and_is_corrected(runner: str) -> None:
    """With two steps in flight a refusal leaves the scheduler one position ahead, no more."""
    ahead: set[int] = set()
    for depth in (1, 2):
        for salt in range(20):
            engine = check(Trace((ONE,), salt=salt, runner=runner, depth=depth, threshold=4))
            ahead |= {depth * 10 + lag for lag in engine.ahead}

    assert ahead == {10, 20, 21}


def test_the_simulation_meets_what_it_is_for() -> None:
    """Preemptions, repeated steps, interventions, fallbacks and both endings all happen."""
    met = {"preempted": 0, "ended": 0, "interventions": 0, "no_acceptable": 0, "repeated": 0}
    for seed in range(120):
        engine = check(drawn(random.Random(seed)))  # noqa: S311  (no secret)
        counters = engine.scheduler.ledger.counters
        met["preempted"] += sum(request.preemptions for request in engine.requests)
        met["ended"] += counters.abstained
        met["interventions"] += counters.interventions
        met["no_acceptable"] += counters.no_acceptable
        met["repeated"] += counters.repeated

    assert min(met.values()) > 5, met
