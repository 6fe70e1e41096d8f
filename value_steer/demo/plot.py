"""One picture: what steering changes, and what the bound allows."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from value_steer.demo.report import DemoReport
    from value_steer.evaluation.intervals import Estimate


def draw(report: DemoReport, file: Path) -> bool:
    """Write the picture as PNG; false, and nothing is written, without matplotlib."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure  # noqa: PLC0415  (an optional extra)

    from value_steer.records.files import replacing  # noqa: PLC0415

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _shares(left, report)
    _levels(right, report)
    with replacing(file) as handle:
        figure.savefig(handle, format="png", dpi=150)
    return True


def _shares(axes: Axes, report: DemoReport) -> None:
    filtering, abstention = report.filtering, report.abstention
    bars = [
        ("bad texts, plain", filtering.bad_base, "tab:grey"),
        ("bad texts, filtered", filtering.bad, "tab:red"),
        ("good texts untouched by the filter", filtering.untouched_good, "tab:green"),
        ("good among the answered, plain", abstention.accuracy_base, "tab:grey"),
        ("good among the answered, steered", abstention.accuracy, "tab:green"),
        ("ended by abstention", abstention.abstained, "tab:blue"),
    ]
    known = [bar for bar in bars if bar[1].value is not None]
    names, shares, colours = zip(*known, strict=True)
    values, spread = _with_errors(shares)
    axes.barh(names, values, xerr=spread, capsize=3, color=colours, alpha=0.8)
    axes.invert_yaxis()  # the first bar on top
    axes.set(xlim=(0, 1.05), xlabel="share of texts", title="Served with the same seeds")


def _levels(axes: Axes, report: DemoReport) -> None:
    rows = [row for row in report.bound if row.touched.value is not None]
    alphas = [row.alpha for row in rows]
    values, spread = _with_errors([row.touched for row in rows])
    axes.plot([0, max(alphas)], [0, max(alphas)], color="grey", label="alpha, the bound")
    axes.errorbar(alphas, values, yerr=spread, fmt="o", capsize=3, label="fresh good texts")
    exact = [row.touched_exact for row in rows]
    axes.scatter(alphas, exact, marker="x", color="black", zorder=3, label="exact probability")
    axes.set(xlabel="alpha", ylabel="P(a good text is touched)", title="The bound")
    axes.legend()


def _with_errors(shares: Sequence[Estimate]) -> tuple[list[float], list[list[float]]]:
    """Values, and how far their intervals reach below and above."""
    known = [(s.value or 0.0, s.low or 0.0, s.high or 0.0) for s in shares]
    below = [value - low for value, low, _ in known]
    above = [high - value for value, _, high in known]
    return [value for value, _, _ in known], [below, above]
