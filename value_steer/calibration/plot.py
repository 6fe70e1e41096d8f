"""A calibration as a picture: what each bound costs, its threshold, and single responses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from value_steer.records.files import replacing
from value_steer.threshold import NEVER
from value_steer.value_probe.card import Polarity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from matplotlib.axes import Axes

    from value_steer.calibration.sidecar import CalibrationReport
    from value_steer.threshold import Threshold
    from value_steer.trajectories import Trajectory

FORMATS = (".svg", ".png", ".pdf")
"""What a picture's name may end in."""

_SHOWN = 6
_AXIS = {Polarity.P_GOOD: "P(good)", Polarity.P_UNDESIRABLE: "P(undesirable)", None: "value"}
_GOOD, _BAD = "tab:blue", "tab:red"
_NO_DATE = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": None}


def draw(report: CalibrationReport, trajectories: Iterable[Trajectory], file: Path) -> None:
    """Write the picture, in the format that the end of its name says."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    costs, thresholds, responses = figure.subplots(1, 3)
    _costs(costs, report)
    _thresholds(thresholds, report)
    _responses(responses, report, trajectories)
    for axes in (costs, thresholds, responses):
        axes.grid(alpha=0.25)
        axes.legend(fontsize="small")
    kind = file.suffix.lower()
    # Text stays text, and the same calibration gives the same bytes.
    style = mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "value-steer"})
    with style, replacing(file) as handle:
        figure.savefig(handle, format=kind[1:], dpi=150, metadata=_NO_DATE[kind])


def _costs(axes: Axes, report: CalibrationReport) -> None:
    points = report.points
    alphas = [point.alpha for point in points]
    good = [point.acts_on_good for point in points]
    axes.plot([0, max(alphas)], [0, max(alphas)], color="grey", linewidth=0.8, label="the bound")
    axes.plot(alphas, good, "o-", color=_GOOD, label="good")
    axes.fill_between(
        alphas,
        good,
        [point.upper_bound for point in points],
        color=_GOOD,
        alpha=0.12,
        label="good, at most (95 %)",
    )
    bad = [math.nan if point.acts_on_bad is None else point.acts_on_bad for point in points]
    axes.plot(alphas, bad, "s-", color=_BAD, label="bad")
    axes.set(title="Responses it acts on", xlabel="alpha", ylabel="share")


def _thresholds(axes: Axes, report: CalibrationReport) -> None:
    alphas = [point.alpha for point in report.points]
    ends = [sorted(map(_number, point.spread)) for point in report.points]
    axes.plot(alphas, [_number(p.threshold) for p in report.points], "o-", label="threshold")
    low, high = [end[0] for end in ends], [end[1] for end in ends]
    axes.fill_between(alphas, low, high, alpha=0.12, label="its 95 % interval")
    axes.set(title="Threshold", xlabel="alpha", ylabel=_AXIS[report.card.scores])


def _responses(axes: Axes, report: CalibrationReport, trajectories: Iterable[Trajectory]) -> None:
    """The first few of each kind, whole: how a value moves is what no table shows."""
    undesirable = report.card.scores is Polarity.P_UNDESIRABLE
    left = {"good": _SHOWN, "bad": _SHOWN}
    for trajectory in trajectories:
        kind = "bad" if (trajectory.label >= 0.5) is undesirable else "good"
        if not left[kind]:
            continue
        axes.plot(
            range(1, trajectory.tokens + 1),
            trajectory.values,
            color=_GOOD if kind == "good" else _BAD,
            linewidth=0.9,
            alpha=0.7,
            label=kind if left[kind] == _SHOWN else None,
        )
        left[kind] -= 1
    if report.card.threshold is not None and report.card.threshold != NEVER:
        axes.axhline(float(report.card.threshold), color="black", linewidth=0.9, label="default")
    axes.set(title="Values along single responses", xlabel="token", ylim=(0, 1))
    axes.set_ylabel(_AXIS[report.card.scores])


def _number(threshold: Threshold) -> float:
    """One that never acts has no place on an axis."""
    return math.nan if threshold == NEVER else float(threshold)
