"""A demonstration's figures in words and tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from value_steer.demo import plot
from value_steer.threshold import NEVER

if TYPE_CHECKING:
    from rich.console import RenderableType

    from value_steer.demo.report import BoundFigures, DemoReport, Example
    from value_steer.evaluation.intervals import Estimate


def show(report: DemoReport, console: Console | None = None) -> None:
    """Print a report, and draw its picture if matplotlib is installed."""
    console = console or Console()
    console.print(render(report))
    picture = report.options.folder / "demo.png"
    if plot.draw(report, picture):
        console.print(f"picture: {picture}")
    else:
        console.print('no picture: matplotlib is not installed (pip install "matplotlib>=3.9")')


def render(report: DemoReport) -> RenderableType:
    """The report for a terminal."""
    parts: list[RenderableType] = [_head(report), _bound(report), _filtering(report)]
    parts += [_abstention(report), _times(report)]
    if report.example is not None:
        parts.append(_example(report.example))
    return Group(*parts, _how_to_serve(report))


def _head(report: DemoReport) -> Table:
    head = report.head
    table = _table("The trained head beside the exact value", "", "head", "exact value")
    table.add_row("AUROC while undecided", _number(head.auroc), _number(head.auroc_exact))
    table.add_row(f"mean error over {head.tokens} tokens", _number(head.mean_error), "0")
    return table


def _bound(report: DemoReport) -> Table:
    table = _table(
        "P(a good text is touched): at most alpha",
        *("alpha", "threshold", "fresh good texts touched", "exact", "bound"),
    )
    for row in report.bound:
        threshold = row.threshold if row.threshold == NEVER else f"{row.threshold:.6f}"
        figures = _share(row.touched), _number(row.touched_exact)
        table.add_row(f"{row.alpha:g}", threshold, *figures, _holds(row))
    return table


def _filtering(report: DemoReport) -> Table:
    found, backend = report.filtering, report.options.backend.value
    title = f"Value filtering at alpha = {report.options.alpha:g}, served by {backend}"
    table = _table(title, "", "measured", "exact")
    table.add_row("bad texts, base", _share(found.bad_base), _number(found.bad_base_exact))
    table.add_row("bad texts, filtered", _share(found.bad), _number(found.bad_exact))
    table.add_row("good texts left untouched", _share(found.untouched_good), "")
    return table


def _abstention(report: DemoReport) -> Table:
    found, backend = report.abstention, report.options.backend.value
    title = f"Abstention at a reward of {report.options.abstain_reward:g}, served by {backend}"
    table = _table(title, "", "measured")
    table.add_row("requests ended", _share(found.abstained))
    table.add_row("good texts, base", _share(found.accuracy_base))
    table.add_row("good texts among the answered", _share(found.accuracy))
    table.add_row("ended ones that would have been good", _share(found.good_withheld))
    table.add_row("tokens saved", _number(found.saved_tokens))
    table.add_row("tokens saved per good text", _number(found.net_saved_tokens))
    return table


def _times(report: DemoReport) -> Table:
    table = _table("Seconds", *("", "took"))
    for stage in report.stages:
        table.add_row(stage.name, f"{stage.seconds:.1f}")
    table.add_row("all", f"{sum(stage.seconds for stage in report.stages):.1f}")
    return table


def _example(example: Example) -> Table:
    table = _table("One prompt", "", "text")
    table.add_row("prompt", example.prompt)
    table.add_row("base", example.base)
    table.add_row("filtered", example.filtered)
    table.add_row("ended", example.abstained)
    return table


def _how_to_serve(report: DemoReport) -> str:
    options = report.options
    config = json.dumps({"vfd": options.section("vfd"), "abstain": options.section("abstain")})
    return escape(
        f"serve it yourself: vllm serve {options.model_folder} --dtype float32 "
        f"--worker-cls value_steer.worker.ValueSteerWorker --additional-config '{config}'"
    )


def _holds(row: BoundFigures) -> str:
    if row.touched_exact <= row.alpha:
        return "holds"
    # The bound is on the average over calibration sets; this set is one of them.
    return "missed by this calibration set"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "none"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}, n = {estimate.n})"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
