"""``value-steer calibrate``."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.calibration import (
    AbstentionRule,
    CalibrationOptions,
    calibrate_file,
    is_held_out,
)
from value_steer.cli.thresholds import interval_text, threshold_text
from value_steer.errors import CalibrationError, CalibrationWarning, SettingsError
from value_steer.features import FeatureCache
from value_steer.features.scoring import require_head, write_scores
from value_steer.labels.store import read_labels
from value_steer.trajectories import read_header, read_trajectories
from value_steer.value_probe import load_value_head

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.calibration import CalibrationReport

_PLOTS = "value_steer.calibration.plot"


def run(options: Namespace) -> int:
    """Calibrate a head and say what its thresholds do."""
    if options.plot is not None:
        _require_place(options.plot)
    trajectories = _trajectories(options)
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
            trajectories, options.head, wanted, training_prompts=options.training_prompts
        )
    for warning in caught:
        sys.stderr.write(f"value-steer calibrate: warning: {warning.message}\n")
    sys.stdout.write("\n".join(_lines(report, options)) + "\n")
    if options.plot is not None:
        plots = import_module(_PLOTS)
        plots.draw(report, read_trajectories(trajectories), options.plot)
        sys.stdout.write(f"picture: {options.plot}\n")
    return 0


def _require_place(plot: Path) -> None:
    """Make sure that a picture can be drawn before the head's sidecar is replaced."""
    plots = import_module(_PLOTS)  # matplotlib
    if plot.suffix.lower() not in plots.FORMATS:
        msg = f"--plot {plot}: the name must end in {', '.join(plots.FORMATS)}"
        raise SettingsError(msg)
    if not plot.parent.is_dir() or plot.is_dir():
        msg = f"--plot {plot}: must be a file in a folder that is there"
        raise SettingsError(msg)


def _trajectories(options: Namespace) -> Path:
    """The file that is given, or one made beside the head from captured states."""
    if (options.trajectories is None) == (options.features is None):
        msg = "give either a file of trajectories or --features"
        raise SettingsError(msg)
    if options.trajectories is not None:
        header = read_header(options.trajectories)
        require_head(header, load_value_head(options.head), str(options.trajectories))
        return Path(options.trajectories)
    if options.labels is None:
        msg = "--features needs --labels, the name that label printed"
        raise SettingsError(msg)
    cache, head = FeatureCache.open(options.features), load_value_head(options.head)
    share, seed = head.card.meta.get("calibration_share"), head.card.meta.get("seed")
    if not isinstance(share, float) or not isinstance(seed, int):
        msg = f"{options.head} does not say which prompts were left for this; give trajectories"
        raise CalibrationError(msg)
    path = Path(f"{options.head}.trajectories.jsonl")
    labels = read_labels(cache, options.labels)
    write_scores(path, head, cache, labels, keep=lambda prompt: is_held_out(prompt, share, seed))
    sys.stdout.write(f"the head's values on the held-out prompts: {path}\n")
    return path


def _lines(report: CalibrationReport, options: Namespace) -> list[str]:
    lines = [
        f"{report.responses} responses to {report.prompts} prompts, {report.good} good ones count",
        "alpha   threshold  its 95 % interval     acts on good  at most (95 %)  acts on bad",
    ]
    for point in report.points:
        bad = "n/a" if point.acts_on_bad is None else f"{point.acts_on_bad:.3f}"
        interval = interval_text(point.spread)
        threshold = threshold_text(point.threshold)
        lines.append(
            f"{point.alpha:<7g} {threshold:<10} {interval:<21} {point.acts_on_good:<13.3f} "
            f"{point.upper_bound:<15.3f} {bad}"
        )
    lines.append(f"default threshold {report.card.threshold}; written to {options.head}")
    return lines
