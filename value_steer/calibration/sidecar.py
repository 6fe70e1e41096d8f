"""Calibrating a head from a file of trajectories, and writing the result into its sidecar."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from value_steer.calibration.abstention import AbstentionRule
from value_steer.calibration.bounds import clopper_pearson_upper
from value_steer.calibration.curves import LEVELS, Samples, alpha_curve, rate_curve, reward_curve
from value_steer.calibration.levels import places, smallest_n
from value_steer.calibration.posterior import martingale_threshold
from value_steer.calibration.prompts import (
    one_per_prompt,
    read_training_prompts,
    refuse_training_prompts,
    training_prompts_file,
)
from value_steer.errors import CalibrationError, CalibrationWarning, DataError
from value_steer.threshold import NEVER, Threshold
from value_steer.trajectories import read_header, read_trajectories
from value_steer.value_probe import CalibrationCurve, HeadCard, Polarity, load_value_head
from value_steer.value_probe.checkpoint import save_value_head
from value_steer.value_probe.digest import weights_digest
from value_steer.value_probe.statements import same_model

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from value_steer.trajectories import Trajectory
    from value_steer.value_probe import ValueHead


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """Settings of a calibration.

    Attributes:
        levels: The alphas of the false-alarm curve.
        alpha: The level whose threshold becomes the head's default.
        rule: How abstention will be configured.
        confidence: ``None``: bounds hold on average over calibration sets; a number: for this one
            with that probability.
        by_group: Add a false-alarm curve for each group of prompts.
        seed: Of the choice of one response where a prompt has several.
        strict: Refuse where a warning would be given: a default threshold of ``"never"``, training
            prompts or settings that are not known.
    """

    levels: Sequence[float] = LEVELS
    alpha: float = 0.05
    rule: AbstentionRule = field(default_factory=AbstentionRule)
    confidence: float | None = None
    by_group: bool = True
    seed: int = 0
    strict: bool = False


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A level of the false-alarm curve and its effect.

    Attributes:
        alpha: Bound on the probability of acting on a good response.
        threshold: In the head's own polarity.
        upper_bound: 95 % Clopper-Pearson bound of that probability, given this calibration set.
        acts_on_good: Share of the good calibration responses it acts on.
        acts_on_bad: Share of the bad ones, ``None`` if there are none.
        spread: 95 % interval of the threshold: its end that acts more often, then the other.
    """

    alpha: float
    threshold: Threshold
    upper_bound: float
    acts_on_good: float
    acts_on_bad: float | None
    spread: tuple[Threshold, Threshold]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """The data and the result of a calibration.

    Attributes:
        prompts: Number of prompts.
        responses: Number of responses; the bounds count one for each prompt.
        good: Good ones among those counted.
        points: The levels of the false-alarm curve.
        ratio: Of the martingale rule at the default level, ``None`` if a prior is missing; see
            :func:`value_steer.calibration.request_threshold`. It is kept in the card's ``meta``.
        card: The head's new card.
    """

    prompts: int
    responses: int
    good: int
    points: tuple[OperatingPoint, ...]
    ratio: Threshold | None
    card: HeadCard


def calibrate_file(
    trajectories: str | os.PathLike[str],
    head: str | os.PathLike[str],
    options: CalibrationOptions | None = None,
    *,
    training_prompts: str | os.PathLike[str] | None = None,
    write: bool = True,
) -> CalibrationReport:
    """Calibrate a head and write thresholds, curves and settings into its sidecar.

    Args:
        trajectories: File of the head's values on finished responses of the unsteered model.
        head: File of the head; it and its sidecar are replaced.
        options: What to calibrate.
        training_prompts: File with the prompt ids that the head was trained on, one a line;
            ``None``: the one beside the head, if there is one.
        write: Off: only say what would come of it.

    Raises:
        DataError: A line of the trajectories cannot be used, or they are another head's.
        CheckpointError: The head cannot be loaded.
        CalibrationError: The polarities differ, a prompt was trained on, no response is good, or
            ``strict`` is set and something is missing.
    """
    options = options or CalibrationOptions()
    header, loaded = read_header(trajectories), load_value_head(head)
    _require_head(loaded, header.head, trajectories)
    _require_polarity(loaded.card.scores, header.scores, trajectories)
    found = list(read_trajectories(trajectories))
    _require_unseen(found, Path(head), training_prompts, strict=options.strict)
    if header.settings is None:
        _weaker(f"{trajectories} does not say how its responses were generated", options.strict)
    elif _differ(loaded.card.backbone, header.settings.model):
        msg = (
            f"{trajectories} has responses of {header.settings.model}, but the head was trained on "
            f"{loaded.card.backbone}; calibrate on its own model's, unless both are one model"
        )
        _weaker(msg, options.strict)
    samples = Samples(found, header.scores, header.settings)
    single = Samples(one_per_prompt(found, options.seed), header.scores, header.settings)
    curves = _curves(samples, single, options)
    threshold = _default(curves[0], options)
    ratio = _ratio(single, options)
    new = {} if ratio is None else {_RATIO: ratio, _RATIO_ALPHA: options.alpha}
    kept = {k: v for k, v in loaded.card.meta.items() if k not in (_RATIO, _RATIO_ALPHA)}
    card = replace(
        loaded.card, scores=header.scores, threshold=threshold, curves=curves, meta=kept | new
    )
    if write:
        save_value_head(head, loaded, card)
    return CalibrationReport(
        prompts=len(single.trajectories),
        responses=len(found),
        good=curves[0].n,
        points=tuple(_points(single, curves[0], options)),
        ratio=ratio,
        card=card,
    )


def _curves(
    samples: Samples, single: Samples, options: CalibrationOptions
) -> tuple[CalibrationCurve, ...]:
    levels = sorted({*options.levels, options.alpha})
    curves = [alpha_curve(single, levels, confidence=options.confidence)]
    names = {t.group for t in single.trajectories if t.group is not None and single.good(t)}
    for group in sorted(names) if options.by_group else ():
        confidence = options.confidence
        curves.append(alpha_curve(single, levels, confidence=confidence, group=group))
    curves.append(rate_curve(samples, options.rule))
    if (reward := reward_curve(samples, options.rule)) is not None:
        curves.append(reward)
    return tuple(curves)


def _default(curve: CalibrationCurve, options: CalibrationOptions) -> Threshold:
    threshold = curve.resolve(options.alpha)
    if threshold == NEVER:
        needed = smallest_n(options.alpha, options.confidence)
        msg = (
            f'the head\'s threshold for alpha = {options.alpha} is "never": {curve.n} good '
            f"responses, where it takes {needed} that do not reach 1"
        )
        _weaker(msg, options.strict)
        return threshold
    crossings = places(curve.n, options.alpha, options.confidence) - 1
    if crossings < FEW_CROSSINGS:
        msg = (
            f"the head's threshold for alpha = {options.alpha} rests on {crossings} good responses "
            f"beyond it, of {curve.n}: with other prompts it could lie far from here, see its "
            "interval; calibrate on more of them"
        )
        _weaker(msg, options.strict)
    return threshold


def _ratio(samples: Samples, options: CalibrationOptions) -> Threshold | None:
    priors = [t.prior for t in samples.trajectories if t.prior is not None]
    if len(priors) < len(samples.trajectories):
        return None
    own = samples.scores is Polarity.P_UNDESIRABLE
    return martingale_threshold(
        [int(not samples.good(t)) for t in samples.trajectories],
        [prior if own else 1.0 - prior for prior in priors],
        [[min(1.0, samples.peak(t))] for t in samples.trajectories],
        options.alpha,
        strict=options.strict,
    )


def _points(
    samples: Samples, curve: CalibrationCurve, options: CalibrationOptions
) -> Iterator[OperatingPoint]:
    good = np.array([samples.peak(t) for t in samples.trajectories if samples.good(t)])
    bad = np.array([samples.peak(t) for t in samples.trajectories if not samples.good(t)])
    asked = (point for point, _ in curve.points)
    spread = dict(zip(asked, curve.spread or (), strict=True))
    for alpha in sorted(options.levels):
        threshold = curve.resolve(alpha)
        exceeding = places(curve.n, alpha, options.confidence) - 1
        # The threshold on P(undesirable), in which peaks are; none reaches infinity.
        own = samples.own(threshold)
        reached = math.inf if own == NEVER else float(own)
        yield OperatingPoint(
            alpha=alpha,
            threshold=threshold,
            upper_bound=0.0 if own == NEVER else clopper_pearson_upper(exceeding, curve.n),
            acts_on_good=float((good >= reached).mean()),
            acts_on_bad=float((bad >= reached).mean()) if bad.size else None,
            spread=spread[alpha],
        )


def _require_head(head: ValueHead, stated: str | None, path: str | os.PathLike[str]) -> None:
    """Check that trajectories are values of this head, if their file says whose they are."""
    own = weights_digest(head)
    if stated is not None and stated != own:
        msg = f"{path} holds values of another head: {stated[:12]} → {own[:12]}; score it anew"
        raise DataError(msg)


def _require_polarity(
    stated: Polarity | None, scores: Polarity, path: str | os.PathLike[str]
) -> None:
    if stated is not None and stated is not scores:
        msg = (
            f"{path} holds values of {scores.value}, but the head scores {stated.value}; "
            "capture the trajectories with this head"
        )
        raise CalibrationError(msg)


def _require_unseen(
    trajectories: Sequence[Trajectory],
    head: Path,
    training_prompts: str | os.PathLike[str] | None,
    *,
    strict: bool,
) -> None:
    beside = training_prompts_file(head)
    listed = Path(training_prompts) if training_prompts is not None else beside
    if training_prompts is None and not beside.exists():
        msg = f"{beside} is missing, so whether the head was trained on these prompts is not known"
        _weaker(msg, strict)
        return
    refuse_training_prompts(trajectories, read_training_prompts(listed))


def _differ(backbone: str | None, model: str | None) -> bool:
    """Whether two models have different names; a path and a name in a hub may mean the same."""
    return len({same_model(one) for one in (backbone, model) if one}) > 1


def _weaker(reason: str, strict: bool) -> None:  # noqa: FBT001  (an option, passed on)
    if strict:
        raise CalibrationError(reason)
    warnings.warn(reason, CalibrationWarning, stacklevel=3)


FEW_CROSSINGS = 5
"""With fewer, the share that is acted on could as well be half or twice as large."""

_RATIO, _RATIO_ALPHA = "martingale_ratio", "martingale_alpha"
