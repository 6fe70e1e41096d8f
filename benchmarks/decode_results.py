"""Results of the decoding benchmark."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from compat.behaviour.messages import Timing


@dataclass(frozen=True)
class Case:
    """One line of the result.

    Attributes:
        mode: ``abstain`` or ``vfd``.
        objections: Share of draws that the head is set to object to.
        requests: How many run at a time.
    """

    mode: str
    objections: float
    requests: int


@dataclass(frozen=True)
class Result:
    """The result of a case.

    Attributes:
        case: The case.
        ratio: Median over the repetitions of its tokens per second of processor time by plain
            vLLM's.
        low: Smallest of them.
        high: Largest of them.
        wall: The same median of wall time.
        interventions: Share of tokens given out in place of the one drawn.
        latency: Milliseconds, its own and plain vLLM's.
        synchronous: The ratios to plain vLLM that schedules synchronously; ``None``: not measured.
    """

    case: Case
    ratio: float
    low: float
    high: float
    wall: float
    interventions: float
    latency: Latencies
    synchronous: Medians | None


@dataclass(frozen=True)
class Medians:
    """Tokens per second by those of a baseline, the median over the repetitions.

    Attributes:
        ratio: Of processor time.
        wall: Of wall time.
    """

    ratio: float
    wall: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds over all requests and repetitions.

    Attributes:
        first_p50: To the first token.
        first_p99: To the first token.
        between_p50: Between two tokens.
        between_p99: Between two tokens.
    """

    first_p50: float
    first_p99: float
    between_p50: float
    between_p99: float


@dataclass(frozen=True)
class Latencies:
    """Those of a case, and of plain vLLM for the same requests."""

    own: Latency
    plain: Latency


@dataclass(frozen=True)
class Repetition:
    """One measurement of a case, and what plain vLLM took for the same right before it."""

    own: Timing
    plain: Timing
    synchronous: Timing | None


def result(case: Case, timings: list[Repetition], interventions: float) -> Result:
    """The result of a case from its repetitions, which is also printed."""
    pairs = [(one.own, one.plain) for one in timings]
    ratios = sorted(_ratios(pairs))
    latency = Latencies(
        own=_latency([own for own, _ in pairs]), plain=_latency([base for _, base in pairs])
    )
    medians = _medians(pairs)
    middle, wall = medians.ratio, medians.wall
    others = [(one.own, one.synchronous) for one in timings if one.synchronous is not None]
    synchronous = _medians(others) if others else None
    found = Result(case, middle, ratios[0], ratios[-1], wall, interventions, latency, synchronous)
    print(
        f"{case.mode:8} {case.requests:3} requests, {case.objections:4.0%} objections: "
        f"{middle:.3f} of plain vLLM ({ratios[0]:.3f} to {ratios[-1]:.3f}), wall {wall:.3f}, "
        f"{interventions:.1%} replaced",
        flush=True,
    )
    return found


def _medians(pairs: list[tuple[Timing, Timing]]) -> Medians:
    wall = [(own.tokens / own.seconds) / (base.tokens / base.seconds) for own, base in pairs]
    return Medians(statistics.median(_ratios(pairs)), statistics.median(wall))


def _ratios(pairs: list[tuple[Timing, Timing]]) -> list[float]:
    return [
        (own.tokens / own.processor_seconds) / (base.tokens / base.processor_seconds)
        for own, base in pairs
    ]


def _latency(timings: list[Timing]) -> Latency:
    first = [1000 * seconds for timing in timings for seconds in timing.first]
    between = [1000 * seconds for timing in timings for seconds in timing.between]
    return Latency(*(round(_percentile(v, p), 2) for v in (first, between) for p in (50, 99)))


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def plot(results: list[Result], path: Path) -> None:
    """Ratio to plain vLLM over the number of requests, a line per objection rate."""
    from matplotlib import pyplot as plt  # noqa: PLC0415  (after the measurement)

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    lines = dict.fromkeys((r.case.mode, r.case.objections) for r in results)
    for mode, rate in lines:
        own = [r for r in results if (r.case.mode, r.case.objections) == (mode, rate)]
        ratios = [r.ratio for r in own]
        spread = [[r.ratio - r.low for r in own], [r.high - r.ratio for r in own]]
        label = "abstention" if mode == "abstain" else f"VFD, {rate:.0%} objections"
        axes.errorbar(
            [r.case.requests for r in own], ratios, spread, marker="o", capsize=3, label=label
        )
    axes.set(
        xscale="log",
        xlabel="requests at a time",
        ylabel="tokens per processor second, relative to plain vLLM",
    )
    axes.set_xticks([r.case.requests for r in results], [str(r.case.requests) for r in results])
    axes.set_ylim(0, max(1.1, *(1.02 * r.high for r in results)))
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
