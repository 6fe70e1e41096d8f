"""Operations on an engine while filtered requests run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches, tiny_models
from compat.behaviour.messages import Arrival, EngineSpec, Event, Request
from compat.behaviour.oracle import ended_at_first_bad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = pytest.mark.depth("equal")

_TOKENS = 16 if batches.SHORT else 40
_MIDDLE = _TOKENS // 2
_GREEDY = [Arrival(r, at=i // 2) for i, r in enumerate(batches.greedy(_TOKENS)[:8])]
_SEEDED = [Arrival(r, at=i // 2) for i, r in enumerate(batches.seeded(8, max_tokens=_TOKENS))]
# Tokens that were computed before a change must not be found in the cache after it by one of the
# engines alone.
_UNCACHED = {"enable_prefix_caching": False}


@pytest.fixture
def never(constant_head: Callable[[float], str]) -> EngineSpec:
    """An engine whose head never objects, and whose weights are changed."""
    vfd = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    return EngineSpec(vfd=vfd, options=_UNCACHED)


@pytest.fixture(scope="session")
def other_weights(workshop: Path) -> str:
    """A model of the same shape."""
    return str(tiny_models.build("mistral", workshop / "mistral-other", seed=21))


@pytest.mark.mode("vfd")
def test_weights_that_change_in_flight_change_what_they_change_in_plain_vllm(
    pool: EnginePool, never: EngineSpec, model_of: Callable[[str], Path], other_weights: str
) -> None:
    """From the same token on, by a remote call and by reloading, with the same tokens."""
    changes = [
        Event("reload", 0, str(model_of("mistral"))),
        Event("scale", _MIDDLE // 2, 1.04),
        Event("reload", _MIDDLE, other_weights),
        Event("scale", _MIDDLE + 3, 0.97),
    ]
    own = EngineSpec(options=_UNCACHED)
    expected = [
        pool.get(own).run_schedule(arrivals, events)
        for events in ((), changes)
        for arrivals in (_GREEDY, _SEEDED)
    ]
    pool.discard(own)

    answers = [
        pool.get(never).run_schedule(arrivals, events)
        for events in ((), changes)
        for arrivals in (_GREEDY, _SEEDED)
    ]

    pool.discard(never)
    assert answers == expected
    assert expected[:2] != expected[2:]


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
def test_weights_reloaded_in_flight_change_no_filtered_token(
    filtering: Engine, plain: PlainEngine
) -> None:
    """The same weights again: the hooks are where they were, and so are the tokens."""
    alone = filtering.run_schedule(_GREEDY)

    reloaded = filtering.run_schedule(_GREEDY, [Event("reload", _MIDDLE), Event("reload", 3)])

    assert reloaded == alone != plain.run_schedule(_GREEDY)


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
@pytest.mark.parametrize(
    "events",
    [
        [Event("reset_cache", _MIDDLE)],
        [Event("reset_cache", step) for step in range(2, _TOKENS, 3)],
        [Event("pause", 5, 0), Event("resume", 9, ["scheduling"])],
        [Event("pause", 5, 0), Event("reset_cache", 6), Event("resume", 9, ["scheduling"])],
    ],
    ids=["cache reset", "cache reset often", "paused", "reset while paused"],
)
def test_running_requests_begin_anew_or_wait_and_keep_their_tokens(
    events: list[Event], pool: EnginePool, filtering: Engine, constant_head: Callable[[float], str]
) -> None:
    """Filtered as ever, and with a head that never objects as plain vLLM."""
    never = pool.get(EngineSpec(vfd={"value_head_path": constant_head(0.9), "threshold": 0.5}))
    undisturbed = never.run_schedule(_GREEDY)
    filtered = filtering.run_schedule(_GREEDY)

    assert never.run_schedule(_GREEDY, events) == undisturbed
    assert filtering.run_schedule(_GREEDY, events) == filtered != undisturbed


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_a_cache_reset_ends_no_request_elsewhere(
    pool: EnginePool, plain: PlainEngine, recognising_head: Callable[[str], str]
) -> None:
    """A request that begins anew is ended where it would have been."""
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    engine = pool.get(EngineSpec(abstain=section))
    natural = plain.run_schedule(_GREEDY)
    events = [Event("reset_cache", step) for step in range(2, _TOKENS, 3)]

    answers = engine.run_schedule(_GREEDY, events)

    assert answers == [ended_at_first_bad(tokens) for tokens in natural]


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_thresholds_that_change_leave_running_requests_alone(
    pool: EnginePool, plain: PlainEngine, recognising_head: Callable[[str], str]
) -> None:
    """Those that begin anew after a cache reset as well; who comes later gets the new one."""
    lenient = {"value_head_path": recognising_head("mistral"), "threshold": 0.01}
    spec = EngineSpec(abstain=lenient)
    late = [Arrival(one.request, at=_MIDDLE) for one in _GREEDY[:2]]
    natural = plain.run_schedule(_GREEDY)
    events = [Event("set_thresholds", 4, {"abstain": 0.5}), Event("reset_cache", 6)]

    *running, first, second = pool.get(spec).run_schedule([*_GREEDY, *late], events)

    pool.discard(spec)
    assert running[:3] == natural[:3], "all that had come before the change"
    assert [first, second] == [ended_at_first_bad(tokens) for tokens in natural[:2]]


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
def test_an_engine_that_slept_filters_as_ever(filtering: Engine, plain: PlainEngine) -> None:
    """Everything is aborted in the middle, the engine sleeps and wakes, and serves others."""
    goes = [Arrival(one.request, one.at, aborted_at=_MIDDLE) for one in _GREEDY]
    sleep = [Event("pause", _MIDDLE + 1, 1), Event("resume", _MIDDLE + 3)]
    whole = filtering.run_schedule(_GREEDY)

    aborted = filtering.run_schedule(goes, sleep)

    assert all(tokens == own[: len(tokens)] for tokens, own in zip(aborted, whole, strict=True))
    assert filtering.run_schedule(_GREEDY) == whole != plain.run_schedule(_GREEDY)
    assert all(filtering.outcomes().values())


@pytest.mark.mode("vfd")
def test_nothing_is_kept_of_requests_that_were_aborted_together(
    filtering: Engine,
) -> None:
    """At any step, that of their first token and the one before it included."""
    one = [Request([9, 10, 11], {"temperature": 0.0, "max_tokens": 12})]
    alone = [answer.tokens for answer in filtering.generate(one)]
    finished = filtering.counters()["finished"]

    for step in range(1, 8):
        goes = [Arrival(arrival.request, 0, aborted_at=step) for arrival in _GREEDY]
        filtering.run_schedule(goes)

    assert [answer.tokens for answer in filtering.generate(one)] == alone
    assert filtering.counters()["finished"] - finished >= 7 * len(_GREEDY) - len(_GREEDY)
