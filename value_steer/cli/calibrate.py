"""``value-steer calibrate``."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from value_steer.calibration import AbstentionRule, CalibrationOptions, calibrate_file
from value_steer.errors import CalibrationWarning

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.calibration import CalibrationReport


def run(options: Namespace) -> int:
    """Calibrate a head and say what its thresholds do."""
    wanted = CalibrationOptions(
        alpha=options.alpha,
        rule=AbstentionRule(options.min_tokens, options.patience),
        confidence=options.confidence,
        seed=options.seed,
        strict=options.strict,
    )
    if options.levels is not None:
        wanted = replace(wanted, levels=tuple(options.levels))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CalibrationWarning)
        report = calibrate_file(
            options.trajectories, options.head, wanted, training_prompts=options.training_prompts
        )
    for warning in caught:
        sys.stderr.write(f"value-steer calibrate: warning: {warning.message}\n")
    sys.stdout.write("\n".join(_lines(report, options)) + "\n")
    return 0


def _lines(report: CalibrationReport, options: Namespace) -> list[str]:
    lines = [
        f"{report.responses} responses to {report.prompts} prompts, {report.good} good ones count",
        "alpha   threshold  acts on good  at most (95 %)  acts on bad",
    ]
    for point in report.points:
        bad = "n/a" if point.acts_on_bad is None else f"{point.acts_on_bad:.3f}"
        threshold = (
            point.threshold if isinstance(point.threshold, str) else f"{point.threshold:.6f}"
        )
        lines.append(
            f"{point.alpha:<7g} {threshold:<10} {point.acts_on_good:<13.3f} "
            f"{point.upper_bound:<15.3f} {bad}"
        )
    lines.append(f"default threshold {report.card.threshold}; written to {options.head}")
    return lines
