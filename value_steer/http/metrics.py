"""The metrics of value-steer, in the formats of Prometheus."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from value_steer.http.totals import Totals, requests_by_outcome
from value_steer.threshold import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

_COUNTERS = {
    "judged": ("judged_tokens", "Hidden states judged by abstention."),
    "filtered": ("filtered_tokens", "Tokens given out after value filtering judged them."),
    "interventions": (
        "interventions",
        "Tokens given out in place of the one that the model drew.",
    ),
    "repeated": ("repeated_steps", "Steps in which a request took its last position again."),
    "no_acceptable": (
        "no_acceptable_tokens",
        "Tokens for which no candidate was acceptable.",
    ),
    "unscored": ("unscored_tokens", "Tokens given out without a judgement, after an error."),
    "swallowed_errors": (
        "swallowed_errors",
        "Decisions that failed and were passed over, under on_error: passthrough, and failures to "
        "record an answer.",
    ),
    "recorded": ("recorded_answers", "Answers of the control group that were recorded."),
    "unendable": (
        "unendable_requests",
        "Requests without a stop token, which abstention cannot end.",
    ),
}
_HISTOGRAMS = {
    "p_good": "P(good) of the hidden states judged by abstention.",
    "p_undesirable": "P(undesirable) of the tokens given out.",
}
_UNREACHABLE = {"abstain": float("-inf"), "vfd": float("inf")}
"""A threshold that never applies, as a number."""

OPENMETRICS = "application/openmetrics-text"
_END = b"# EOF\n"


def extended(exposition: bytes, content_type: str, totals: Totals) -> bytes:
    """An exposition with that of value-steer after it, in the same format."""
    registry = CollectorRegistry()
    registry.register(_Exposition(totals))
    if content_type.startswith(OPENMETRICS):
        encode: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest
        return exposition.removesuffix(_END) + encode(registry)
    return exposition + generate_latest(registry)


class _Exposition(Collector):
    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        counters, status = self._totals.counters, self._totals.status
        yield _requests(counters)
        for key, (name, text) in _COUNTERS.items():
            yield CounterMetricFamily(f"value_steer_{name}", text, value=counters[key])
        for key, text in _HISTOGRAMS.items():
            yield _histogram(f"value_steer_{key}", text, counters[key])
        yield SummaryMetricFamily(
            "value_steer_step_seconds",
            "Time that value-steer took in the engine's steps.",
            count_value=counters["steps"],
            sum_value=counters["step_seconds"],
        )
        yield from _states(status)


def _requests(counters: Mapping[str, Any]) -> Metric:
    family = CounterMetricFamily(
        "value_steer_requests",
        "Requests that have ended, by what became of them.",
        labels=["outcome"],
    )
    for outcome, count in requests_by_outcome(counters).items():
        family.add_metric([outcome], count)
    return family


def _histogram(name: str, text: str, bins: Sequence[int]) -> Metric:
    """Without a sum, which nobody keeps."""
    edges = [str(round((place + 1) / len(bins), 6)) for place in range(len(bins))]
    buckets = list(zip(edges, itertools.accumulate(bins), strict=True))
    total = buckets[-1][1] if buckets else 0
    return HistogramMetricFamily(name, text, buckets=[*buckets, ("+Inf", total)], sum_value=None)


def _states(status: Mapping[str, Any]) -> Iterator[Metric]:
    thresholds = GaugeMetricFamily(
        "value_steer_threshold",
        "What applies to the requests that come now.",
        labels=["mode", "head"],
    )
    for mode, settings in status["modes"].items():
        for head, own in {"": settings, **settings.get("heads", {})}.items():
            value = own["threshold"]
            reached = _UNREACHABLE[mode] if value == NEVER else float(value)
            thresholds.add_metric([mode, head], reached)
    yield thresholds
    evidence = GaugeMetricFamily(
        "value_steer_evidence",
        "Always 1; the label says what evidence there is that a mode works here.",
        labels=["mode", "standing"],
    )
    for mode, found in status["evidence"].items():
        evidence.add_metric([mode, found["standing"]], 1)
    yield evidence
    yield GaugeMetricFamily(
        "value_steer_disabled",
        "1 if VALUE_STEER_DISABLE has switched steering off.",
        value=int(status["disabled"]),
    )
    running = {key: str(status[key]) for key in ("version", "vllm", "runner", "lane")}
    yield InfoMetricFamily("value_steer", "What runs.", value=running)
