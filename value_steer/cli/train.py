"""``value-steer train``."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from value_steer.features import FeatureCache
from value_steer.labels.store import read_labels
from value_steer.training import ABSTENTION, FILTERING
from value_steer.training.from_features import FeatureTraining, train_from_features
from value_steer.value_probe import Polarity
from value_steer.value_probe.head import Architecture

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.training import TrainingOptions
    from value_steer.training.report import TrainingReport

_RECIPES = {
    "abstention": (Polarity.P_GOOD, ABSTENTION),
    "filtering": (Polarity.P_UNDESIRABLE, FILTERING),
}


def run(options: Namespace) -> int:
    """Train a head and say how good it is."""
    scores, recipe = _RECIPES[options.recipe]
    labels = read_labels(FeatureCache.open(options.features), options.labels)
    training = FeatureTraining(
        scores=scores,
        architecture=Architecture(options.architecture or Architecture.THREE_LAYER),
        prompt_position=options.prompt_position,
        calibration_share=options.calibration_share,
        validation_share=options.validation_share,
        batch_size=options.batch_size,
        seed=options.seed,
        device=options.device,
    )
    report = train_from_features(
        options.features, labels, options.out, training, _changed(recipe, options)
    )
    sys.stdout.write("\n".join([*_lines(report), f"head: {options.out}"]) + "\n")
    return 0


def _changed(recipe: TrainingOptions, options: Namespace) -> TrainingOptions:
    """The recipe with what was asked for in the place of its own."""
    if options.loss is not None:
        recipe = replace(recipe, loss_name=options.loss)
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    if options.learning_rate is not None:
        recipe = replace(recipe, learning_rate=options.learning_rate)
    return recipe


def _lines(report: TrainingReport) -> list[str]:
    ended = ", ended early" if report.stopped_early else ""
    lines = [f"best epoch {report.best_epoch} of {len(report.epochs)}{ended}"]
    if (found := report.best.validation) is not None:
        areas = (found.auroc_first, found.auroc_middle, found.auroc_last)
        shown = ", ".join("n/a" if area is None else f"{area:.3f}" for area in areas)
        lines.append(f"validation on {found.sequences} responses, {found.tokens} tokens")
        lines.append(f"AUROC at the first, middle, last token: {shown}")
        lines.append(f"calibration error: {found.calibration_error:.3f}")
    return lines
