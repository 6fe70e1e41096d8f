"""The report of an evaluation: one HTML file that needs nothing else, and the same as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from value_steer import __version__
from value_steer.evaluation import plots
from value_steer.evaluation.steering import MEASURES
from value_steer.records.files import replacing

if TYPE_CHECKING:
    import os

    from value_steer.evaluation.abstention import AbstentionResult, RuleResult
    from value_steer.evaluation.intervals import Estimate
    from value_steer.evaluation.selective import OperatingPoint
    from value_steer.evaluation.steering import SteeringResult

FORMAT = 1
"""Version of the JSON's format."""

SHOWN_RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Abstention rates in the table."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation; either part may be missing.

    Attributes:
        abstention: Stop rules on finished responses.
        steering: Policies on the same prompts.
    """

    abstention: AbstentionResult | None = None
    steering: SteeringResult | None = None


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Where the report is."""

    html: Path
    json: Path


def write_report(folder: str | os.PathLike[str], evaluation: Evaluation) -> ReportFiles:
    """Write ``report.html`` and ``report.json``; each is replaced atomically.

    Args:
        folder: Where to; it is made if it is not there.
        evaluation: What to report.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    files = ReportFiles(place / "report.html", place / "report.json")
    body = {"format": FORMAT, "value_steer": __version__, **asdict(evaluation)}
    text = json.dumps(body, indent=1, allow_nan=False) + "\n"
    for path, content in ((files.json, text), (files.html, html(evaluation))):
        with replacing(path) as handle:
            handle.write(content.encode())
    return files


def html(evaluation: Evaluation) -> str:
    """The report as one page, its pictures inside."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    abstention, steering = evaluation.abstention, evaluation.steering
    return environment.get_template("report.html.j2").render(
        version=__version__,
        abstention=abstention,
        abstention_plots=plots.abstention_plots(abstention) if abstention else (),
        rates=SHOWN_RATES,
        nearest=nearest,
        steering=steering,
        steering_plots=plots.steering_plots(steering) if steering else (),
        measures=MEASURES,
    )


def figure(estimate: Estimate | None) -> str:
    """An estimate with its interval, for a table."""
    if estimate is None or estimate.value is None:
        return "n/a"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def nearest(rule: RuleResult, rate: float) -> OperatingPoint:
    """The point of a rule whose target is nearest to a rate."""
    return min(rule.points, key=lambda point: abs(point.target_rate - rate))
