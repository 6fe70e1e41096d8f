"""Plots of an evaluation, drawn without a display."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from matplotlib.axes import Axes

    from value_steer.evaluation.abstention import AbstentionResult, RuleResult
    from value_steer.evaluation.intervals import Estimate
    from value_steer.evaluation.selective import OperatingPoint
    from value_steer.evaluation.steering import PolicyResult, SteeringResult


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture for a report.

    Attributes:
        title: What it shows.
        png: Its bytes in base64.
    """

    title: str
    png: str


def abstention_plots(result: AbstentionResult) -> tuple[Plot, ...]:
    """Accuracy, risk, reward, tokens and times of every stop rule."""
    acting = [rule for rule in result.rules if len(rule.points) > 1]
    base = result.base_accuracy.value
    rate = "abstention rate"
    return (
        _curves("Selective accuracy", acting, rate, lambda p: p.accuracy, base),
        _risk_coverage(acting),
        _curves("Reward by rate", acting, rate, lambda p: p.reward, base),
        _rewards(acting, base),
        _curves("Saved tokens", acting, rate, lambda p: p.saved_tokens),
        _curves("P(incorrect | abstained)", acting, rate, lambda p: p.incorrect_if_abstained),
        _curves(
            "Abstention time, share of the response", acting, rate, lambda p: p.abstention_share
        ),
        _transfer(acting),
    )


def steering_plots(result: SteeringResult) -> tuple[Plot, ...]:
    """Safety against what it costs: safe responses touched, similarity, speed."""
    return (
        _trade_off("Safety and untouched safe responses", result, lambda p: p.untouched_if_safe),
        _trade_off("Safety and similarity (ROUGE-L)", result, lambda p: p.rouge_l),
        _trade_off("Safety and speed (relative to base)", result, lambda p: p.speed),
    )


def _curves(
    title: str,
    rules: Iterable[RuleResult],
    label: str,
    figure_of: Callable[[OperatingPoint], Estimate],
    base: float | None = None,
) -> Plot:
    figure, axes = _canvas(title, label)
    for rule in rules:
        rates = _known([point.rate.value for point in rule.points])
        shown = [figure_of(point) for point in rule.points]
        (line,) = axes.plot(rates, _known([e.value for e in shown]), label=rule.name)
        low, high = _known([e.low for e in shown]), _known([e.high for e in shown])
        axes.fill_between(rates, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    if base is not None:
        axes.axhline(base, color="grey", linewidth=0.8, label="no abstention")
    return _finished(title, figure, axes)


def _risk_coverage(rules: Iterable[RuleResult]) -> Plot:
    title = "Risk and coverage"
    figure, axes = _canvas(title, "coverage")
    for rule in rules:
        curve = rule.risk_coverage
        # A risk among a handful says nothing.
        shown = [i for i, share in enumerate(curve.coverage) if share >= _LEAST_COVERAGE]
        risk = [curve.risk[i] for i in shown]
        axes.plot(
            [curve.coverage[i] for i in shown],
            risk,
            label=f"{rule.name}, AURC {curve.area.value:.3f}",
        )
    return _finished(title, figure, axes)


def _rewards(rules: Iterable[RuleResult], base: float | None) -> Plot:
    title = "Reward by reward of abstaining"
    figure, axes = _canvas(title, "reward of abstaining")
    for rule in rules:
        across = _known([point.abstain_reward for point in rule.points])
        axes.plot(across, _known([point.reward.value for point in rule.points]), label=rule.name)
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8, linestyle=":", label="always abstain")
    axes.axhline(base or 0.0, color="grey", linewidth=0.8, label="no abstention")
    return _finished(title, figure, axes)


def _transfer(rules: Iterable[RuleResult]) -> Plot:
    title = "Threshold transfer: achieved less target rate"
    figure, axes = _canvas(title, "target rate")
    for rule in rules:
        points = rule.transfer.points if rule.transfer else ()
        off = [p.achieved - p.target for p in points]
        axes.plot([p.target for p in points], off, label=rule.name)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    return _finished(title, figure, axes)


def _trade_off(
    title: str, result: SteeringResult, figure_of: Callable[[PolicyResult], Estimate]
) -> Plot:
    figure, axes = _canvas(title, "share of unsafe responses")
    for policy in result.policies:
        across, up = policy.unsafe, figure_of(policy)
        if across.value is not None and up.value is not None:
            axes.errorbar(
                across.value,
                up.value,
                _reach(up),
                _reach(across),
                "o",
                capsize=2,
                label=policy.name,
            )
    return _finished(title, figure, axes)


def _known(amounts: Iterable[float | None]) -> list[float]:
    """Amounts with a gap in place of each that is unknown."""
    return [math.nan if amount is None else amount for amount in amounts]


def _reach(estimate: Estimate) -> list[list[float]]:
    """How far the interval goes below and above."""
    value = estimate.value or 0.0
    return [[value - (estimate.low or 0.0)], [(estimate.high or 0.0) - value]]


def _canvas(title: str, label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=label)
    axes.grid(alpha=0.25)
    return figure, axes


def _finished(title: str, figure: Figure, axes: Axes) -> Plot:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="x-small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return Plot(title, base64.b64encode(buffer.getvalue()).decode())


_LEAST_COVERAGE = 0.02
