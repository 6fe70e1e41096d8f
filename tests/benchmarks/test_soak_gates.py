"""The gates of the soak fall where they must, and only there."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.soak import gates
from benchmarks.soak.gates import (
    KEPT,
    bin_of,
    cost,
    drift,
    leftovers,
    line,
    memory,
    none_of,
    seconds_of,
)

_MEBI = 1 << 20
_FINISHED = list(range(0, 40_000, 100))


def _cycles(scale: float, count: int, seed: int) -> list[Counter[int]]:
    draw = np.random.default_rng(seed)
    return [Counter(map(bin_of, scale * draw.lognormal(0, 1, 300))) for _ in range(count)]


def _resident(per_10_000: float, noise: float = 0.0) -> list[int]:
    draw = np.random.default_rng(1)
    return [
        int(_MEBI * (700 + per_10_000 * done / 10_000 + noise * draw.standard_normal()))
        for done in _FINISHED
    ]


def test_a_time_lies_within_a_hundredth_of_its_bin() -> None:
    """From a hundredth of a millisecond on."""
    for seconds in (1e-5, 3e-4, 0.0123, 1.7, 250.0):
        assert seconds_of(bin_of(seconds)) == pytest.approx(seconds, rel=0.01)
    assert bin_of(0.0) == bin_of(1e-5)


@pytest.mark.parametrize("percent", [1, 50, 99])
def test_a_percentile_of_bins_is_that_of_the_times(percent: float) -> None:
    """To within a bin."""
    times = np.random.default_rng(3).lognormal(-4, 1, 20_000)
    counted = Counter(map(bin_of, times))
    counts = [counted[number] for number in range(max(counted) + 1)]

    assert gates.percentile(counts, percent) == pytest.approx(
        float(np.percentile(times, percent)), rel=0.02
    )


def test_a_line_has_the_slope_of_its_samples() -> None:
    """And an interval that holds it; a moment's peak does not bend it."""
    draw = np.random.default_rng(2)
    x = list(map(float, range(600)))
    y = [3.0 * at + draw.normal(0, 5) for at in x]
    y[102:105] = [1e6] * 3

    found = line(x, y)

    assert found is not None
    assert found.low < 3.0 < found.high
    assert found.slope == pytest.approx(3.0, abs=0.05)
    assert line(x[:30], y[:30]) is None


def test_a_cycle_is_told_in_percentiles() -> None:
    """So that a report shows where in a run tokens were late."""
    times = Counter({gates.bin_of(0.010): 990, gates.bin_of(0.200): 10})

    told = gates.summary(times)

    assert told["times"] == 1_000
    assert told["p50"] == pytest.approx(10, rel=0.02)
    assert told["p99.9"] == pytest.approx(200, rel=0.02)
    assert gates.summary(Counter()) == {"times": 0}


@pytest.mark.parametrize(
    ("growth", "noise", "verdict"),
    [(0.0, 1.0, "held"), (1.0, 0.1, "held"), (60.0, 1.0, "broken"), (4.0, 10.0, "not shown")],
)
def test_memory_that_grows_breaks_its_gate(growth: float, noise: float, verdict: str) -> None:
    """Beyond what is allowed, and where the interval says so."""
    assert memory("worker", _FINISHED, _resident(growth, noise), KEPT).verdict == verdict


def test_memory_that_grows_until_all_outcomes_are_kept_is_no_leak() -> None:
    """It is after those that samples count."""
    resident = [int(_MEBI * (700 + min(done, KEPT) / 100)) for done in _FINISHED]

    assert memory("worker", _FINISHED, resident, KEPT).verdict == "held"
    assert memory("worker", _FINISHED, resident, 0).verdict != "held"
    assert memory("worker", _FINISHED[:50], resident[:50], KEPT).verdict == "not shown"


@pytest.mark.parametrize(
    ("change", "verdict"), [(0.9, "held"), (0.7, "held"), (1.04, "not shown"), (1.5, "broken")]
)
def test_slower_tokens_break_their_gate(change: float, verdict: str) -> None:
    """The last third against the first; the middle one does not count."""
    cycles = _cycles(0.01, 60, 1) + _cycles(0.3, 60, 2) + _cycles(0.01 * change, 60, 3)

    assert drift(cycles, 0, seed=0).verdict == verdict


@pytest.mark.parametrize(
    ("change", "noise", "verdict"),
    [(0.0, 0.02, "held"), (0.2, 0.02, "broken"), (-0.2, 0.02, "held"), (0.0, 0.5, "not shown")],
)
def test_tokens_that_take_more_and_more_break_their_gate(
    change: float, noise: float, verdict: str
) -> None:
    """However many there are in a second; the place in a cycle of the load does not count."""
    draw = np.random.default_rng(4)
    tokens = np.cumsum(draw.integers(1_000, 3_000, 1_200))
    finished = np.arange(1_200) * 40
    ramp = np.linspace(0, change, 1_200) + 0.3 * np.sin(finished / 1_200 * 2 * np.pi)
    each = 0.001 * (1 + ramp + noise * draw.standard_normal(1_200))
    processor = np.cumsum(each * np.diff(tokens, prepend=0))

    found = cost([*finished], [*tokens], [*processor], 12_000, 1_200)

    assert found.verdict == verdict
    assert found.figures["low"] < 0.75 * change < found.figures["high"]


@pytest.mark.parametrize("finished", [[], [0, 5_000, 20_000]])
def test_a_short_run_shows_nothing_of_what_tokens_take(finished: list[int]) -> None:
    """Nor does one that never began."""
    assert cost(finished, finished, [0.001 * n for n in finished], 10_000, 1_200).verdict == (
        "not shown"
    )


def test_cycles_of_the_beginning_do_not_count() -> None:
    """A server that has just started is slow."""
    cycles = _cycles(1.0, 20, 1) + _cycles(0.01, 60, 2) + _cycles(0.012, 60, 3)

    assert drift(cycles, 20, seed=0).verdict == "broken"
    assert drift(cycles, 0, seed=0).verdict == "held"
    assert drift(cycles[:10], 0, seed=0).verdict == "not shown"


def test_the_same_seed_gives_the_same_interval() -> None:
    """A report can be computed again."""
    cycles = _cycles(0.01, 60, 1)

    assert drift(cycles, 0, seed=4) == drift(cycles, 0, seed=4)


@pytest.mark.parametrize(("count", "of", "verdict"), [(0, 0, "not shown"), (0, 9, "held")])
def test_what_never_happened_holds_only_where_it_could(count: int, of: int, verdict: str) -> None:
    """No answer compared is no answer equal."""
    assert none_of("answers", count, of, "differ").verdict == verdict
    assert none_of("answers", 1, of, "differ").verdict == "broken"


def test_an_object_that_stays_is_named() -> None:
    """With its process, and from how many it has become how many."""
    held = "value_steer.engine.delivery.outbox.Outbox._held"

    gate = leftovers({"Worker": {held: 1}}, {"Worker": {held: 3}, "API server": {"other": 0}})

    assert gate.verdict == "broken"
    assert f"Worker: {held} from 1 to 3" in gate.says
    assert leftovers({"Worker": {held: 1}}, {"Worker": {held: 1}}).verdict == "held"
    assert leftovers({}, {}).verdict == "not shown"


def test_outcomes_are_kept_up_to_their_bound() -> None:
    """What is kept on purpose may grow, but not past that."""
    outcomes = "value_steer.engine.scheduling.outcomes.Outcome"

    assert leftovers({"Worker": {}}, {"Worker": {outcomes: KEPT}}).verdict == "held"
    assert leftovers({"Worker": {}}, {"Worker": {outcomes: KEPT + 1}}).verdict == "broken"
