"""The gates of a soak, and their arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

Verdict = Literal["held", "broken", "not shown"]

KEPT = 10_000
"""Finished answers of which a process keeps the outcome; its memory grows until then."""

MOST_DRIFT = 0.05
MOST_GROWTH = 4 << 20
"""Bytes per 10,000 requests."""
_PER = 10_000
_GROUPS = 60
"""Medians that a line is laid through: neighbouring samples are not independent."""
_LEAST_GROUPS = 12
_LEAST_CYCLES = 6
_RESAMPLES = 2_000
_STEP = math.log(1.01)
_SHORTEST = 1e-5

_BOUNDED = {
    "value_steer.engine.scheduling.outcomes.Outcome": KEPT,
    "value_steer.engine.scheduling.ledger.Ledger._outcomes": KEPT,
    "value_steer.engine.scheduling.ledger.Ledger._of_caller": KEPT,
    "value_steer.http.engines.Outcomes._given": KEPT,
    "value_steer.engine.requests.RequestTable._free_slots": 128,
}
"""Objects whose number may grow, and how far."""


@dataclass(frozen=True)
class Gate:
    """One thing that the run must show.

    Attributes:
        name: What.
        verdict: ``not shown``: the run was too short or too noisy to say.
        says: The figures, in a sentence.
        figures: The same, to be computed with.
    """

    name: str
    verdict: Verdict
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.verdict:9}  {self.name}: {self.says}"


@dataclass(frozen=True)
class Line:
    """Growth, with the interval that holds it in 95 of 100 runs.

    Attributes:
        slope: Of the line.
        low: Its lower end.
        high: Its upper end.
    """

    slope: float
    low: float
    high: float


def bin_of(seconds: float) -> int:
    """The bin of a time, in steps of one in a hundred."""
    return int(math.log(max(seconds, _SHORTEST) / _SHORTEST) / _STEP)


def seconds_of(number: int) -> float:
    """The middle of a bin."""
    return _SHORTEST * math.exp((number + 0.5) * _STEP)


def none_of(name: str, count: int, of: int, what: str) -> Gate:
    """Something that must not happen even once.

    Args:
        name: Of the gate.
        count: How often it did.
        of: How often it could have.
        what: Happened.
    """
    verdict: Verdict = "broken" if count else "held" if of else "not shown"
    return Gate(name, verdict, f"{count} of {of} {what}", {"count": count, "of": of})


def line(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The line of least squares through medians; ``None``: there are too few samples.

    A robust one would not see growth in a few steps, which is how an allocator grows.
    """
    groups = min(_GROUPS, len(x) // 3)
    if groups < _LEAST_GROUPS:
        return None
    at = [float(np.median(part)) for part in np.array_split(np.asarray(x, float), groups)]
    of = [float(np.median(part)) for part in np.array_split(np.asarray(y, float), groups)]
    found = stats.linregress(at, of)
    # Of samples that are all the same SciPy has no error to tell.
    error = float(np.nan_to_num(found.stderr))
    reach = float(stats.t.ppf(0.975, groups - 2)) * error
    slope = float(found.slope)
    return Line(slope, slope - reach, slope + reach)


def memory(name: str, finished: Sequence[int], resident: Sequence[int], warm: int) -> Gate:
    """A process must not grow once it keeps as many outcomes as it may.

    Args:
        name: Of the process.
        finished: Answers given so far, at each sample.
        resident: Bytes, at each sample.
        warm: Answers after which samples count.
    """
    counted = [at for at, done in enumerate(finished) if done >= warm]
    found = line([finished[at] / _PER for at in counted], [resident[at] for at in counted])
    title = f"memory of {name}"
    if found is None:
        return Gate(title, "not shown", f"fewer than {3 * _LEAST_GROUPS} samples after {warm}")
    mebi = [value / (1 << 20) for value in (found.slope, found.low, found.high)]
    first, last = resident[counted[0]] / (1 << 20), resident[counted[-1]] / (1 << 20)
    verdict: Verdict = "not shown"
    if found.low > MOST_GROWTH:
        verdict = "broken"
    elif found.high <= MOST_GROWTH:
        verdict = "held"
    says = (
        f"{mebi[0]:+.2f} MiB per {_PER} requests (95 %: {mebi[1]:+.2f} to {mebi[2]:+.2f}), "
        f"{first:.0f} MiB after {finished[counted[0]]} and {last:.0f} after {finished[-1]}"
    )
    return Gate(title, verdict, says, dict(zip(("slope", "low", "high"), mebi, strict=True)))


def cost(
    finished: Sequence[int],
    tokens: Sequence[int],
    processor: Sequence[float],
    first: int,
    size: int,
) -> Gate:
    """A token must not come to take the server more and more processor time.

    Args:
        finished: Answers given so far, at each sample.
        tokens: Given out so far, at each sample.
        processor: Seconds of all processes of the server so far, at each sample.
        first: Answers after which samples count.
        size: Answers of a cycle of the load; what a token takes depends on its place in one.
    """
    name = "processor time of a token"
    edges = np.arange(first, finished[-1] if finished else 0, size)
    if len(edges) <= _LEAST_GROUPS:
        return Gate(name, "not shown", f"fewer than {_LEAST_GROUPS} cycles after {first} requests")
    spent = np.diff(np.interp(edges, finished, processor))
    of_cycle = spent / np.diff(np.interp(edges, finished, tokens))
    found = stats.linregress(np.arange(len(of_cycle)) / len(of_cycle), of_cycle)
    mean = float(of_cycle.mean())
    reach = float(stats.t.ppf(0.975, len(of_cycle) - 2) * np.nan_to_num(found.stderr)) / mean
    change = float(found.slope) / mean
    low, high = change - reach, change + reach
    verdict = _drifted(low, high)
    says = f"{1000 * mean:.2f} ms, {change:+.1%} over the run (95 %: {low:+.1%} to {high:+.1%})"
    return Gate(name, verdict, says, {"change": change, "low": low, "high": high})


def _drifted(low: float, high: float) -> Verdict:
    if low >= MOST_DRIFT:
        return "broken"
    return "held" if high < MOST_DRIFT else "not shown"


def drift(cycles: Sequence[Counter[int]], warm: int, seed: int) -> Gate:
    """The 99th percentile of the time between tokens must stay: last third against first.

    Whole cycles are drawn anew for the interval, since a slow step is one for all its streams.

    Args:
        cycles: Times of each cycle, by bin.
        warm: Cycles that do not count.
        seed: Of what is drawn.
    """
    name, counted = "time between tokens", cycles[warm:]
    third = len(counted) // 3
    if third < _LEAST_CYCLES:
        return Gate(name, "not shown", f"{len(counted)} cycles after the first {warm}")
    width = 1 + max(max(cycle, default=0) for cycle in counted)
    table = np.array([[cycle[n] for n in range(width)] for cycle in counted])
    first, last = table[:third], table[-third:]

    def change(of_first: Any, of_last: Any) -> float:  # noqa: ANN401  (arrays)
        return percentile(last[of_last].sum(0), 99) / percentile(first[of_first].sum(0), 99) - 1

    every = np.arange(third)
    drawn = stats.bootstrap(
        (every, every),
        change,
        n_resamples=_RESAMPLES,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = map(float, drawn.confidence_interval)
    here = change(every, every)
    verdict = _drifted(low, high)
    before, after = (1000 * percentile(part.sum(0), 99) for part in (first, last))
    says = (
        f"p99 {before:.1f} ms, then {after:.1f} ms: {here:+.1%} (95 %: {low:+.1%} to {high:+.1%})"
    )
    return Gate(name, verdict, says, {"change": here, "low": low, "high": high})


def percentile(counts: Any, percent: float) -> float:  # noqa: ANN401  (an array)
    """The percentile of binned times, in seconds.

    Args:
        counts: ``[bins]``, how often.
        percent: From 0 to 100.
    """
    upto = np.cumsum(counts)
    return seconds_of(int(np.searchsorted(upto, upto[-1] * percent / 100)))


def summary(times: Counter[int]) -> dict[str, float]:
    """Times between tokens in a few figures: how many, and percentiles in milliseconds.

    Args:
        times: How often, by bin.
    """
    counts = np.array([times[n] for n in range(1 + max(times, default=0))])
    if not counts.sum():
        return {"times": 0}
    of = {f"p{p:g}": round(1000 * percentile(counts, p), 2) for p in (50, 90, 99, 99.9)}
    return {"times": int(counts.sum()), **of}


def leftovers(
    before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]
) -> Gate:
    """Nothing of a finished request may stay, but for the outcomes that are kept.

    Args:
        before: What was alive in each process before the load.
        after: And what when all of it had ended.
    """
    grown = {
        f"{process}: {name}": (before.get(process, {}).get(name, 0), count)
        for process, counts in after.items()
        for name, count in counts.items()
        if count > max(before.get(process, {}).get(name, 0), _BOUNDED.get(name, 0))
    }
    counted = sum(map(len, after.values()))
    says = f"{len(grown)} of {counted} counts of objects grew" + "".join(
        f"; {name} from {was} to {now}" for name, (was, now) in grown.items()
    )
    verdict: Verdict = ("broken" if grown else "held") if after else "not shown"
    return Gate("state of finished requests", verdict, says, {"grown": grown})
