"""The card of a head, beside its weights: the record behind ``<file>.meta.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias

from value_steer.errors import CalibrationError
from value_steer.threshold import NEVER, Threshold, is_probability, is_threshold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from value_steer.value_probe.fingerprint import SettingsFingerprint

Quantity: TypeAlias = Literal["abstain_reward", "target_rate", "alpha"]
"""Quantities of an operating point; ``alpha`` belongs to value filtering."""


class Polarity(str, Enum):
    """The meaning of a high score."""

    P_GOOD = "p_good"
    P_UNDESIRABLE = "p_undesirable"


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Which tensor of the backbone the head reads: the one that ``lm_head`` consumes.

    Attributes:
        layer: Layer whose output is read; ``final`` is the last one.
        position: ``post_norm``: after the final norm.
        capture: How the training features were computed: ``decode`` in the serving engine,
            ``prefill`` by one teacher-forced pass, or ``unknown``.
    """

    layer: Literal["final"] = "final"
    position: Literal["post_norm"] = "post_norm"
    capture: Literal["decode", "prefill", "unknown"] = "unknown"


@dataclass(frozen=True, slots=True)
class CalibrationCurve:
    """Thresholds for a range of operating points, measured on a calibration set.

    Attributes:
        quantity: What is asked for.
        points: ``(asked, threshold)`` pairs in ascending order of ``asked``.
        n: Size of the calibration set.
        guarantee: The guarantee that the thresholds carry, in words.
        settings: How the calibration set was generated; the guarantee holds for this only.
        group: The category of prompts that it holds for; ``None``: all.
        spread: Of each point a 95 % interval: the threshold that acts more often, then the one that
            acts less often; see :mod:`value_steer.calibration.spread`. ``None``: not known.

    Raises:
        CalibrationError: There are no points, they do not ascend, their thresholds neither
            rise nor fall throughout (``"never"`` may only come first), one of the numbers is not
            from 0 to 1, or the intervals are not as many as the points.
    """

    quantity: Quantity
    points: tuple[tuple[float, Threshold], ...]
    n: int
    guarantee: str | None = None
    settings: SettingsFingerprint | None = None
    group: str | None = None
    spread: tuple[tuple[Threshold, Threshold], ...] | None = None

    def __post_init__(self) -> None:
        asked = [point for point, _ in self.points]
        thresholds = [threshold for _, threshold in self.points]
        thresholds += [end for interval in self.spread or () for end in interval]
        if not all(map(is_probability, asked)) or not all(map(is_threshold, thresholds)):
            msg = f"the {self.quantity} curve has a number that is not from 0 to 1"
            raise CalibrationError(msg)
        if self.spread is not None and len(self.spread) != len(self.points):
            msg = f"the {self.quantity} curve needs an interval for each point, or none at all"
            raise CalibrationError(msg)
        if not asked or asked != sorted(set(asked)):
            msg = f"the {self.quantity} curve needs at least one point, in ascending order"
            raise CalibrationError(msg)
        if not any(self.follows(polarity) for polarity in Polarity):
            msg = f"the thresholds of the {self.quantity} curve must all rise or all fall"
            raise CalibrationError(msg)

    def follows(self, scores: Polarity) -> bool:
        """Whether asking for more acts more often, on a score of this polarity."""
        thresholds = [threshold for _, threshold in self.points]
        numbers = [float(threshold) for threshold in thresholds if threshold != NEVER]
        after_never = thresholds[len(thresholds) - len(numbers) :]
        return after_never == sorted(numbers, reverse=scores is Polarity.P_UNDESIRABLE)

    def resolve(self, asked: float) -> Threshold:
        """The threshold for an operating point.

        A rate or a level takes the largest tabulated one that does not exceed it, so that its
        guarantee still holds; a reward is interpolated linearly between its neighbours, and
        between ``"never"`` and a number it is ``"never"``.

        Raises:
            CalibrationError: The curve does not reach as far as what is asked, or that is not a
                number from 0 to 1.
        """
        if not is_probability(asked):
            msg = f"{self.quantity} = {asked!r}: must be a number from 0 to 1"
            raise CalibrationError(msg)
        lowest, highest = self.points[0][0], self.points[-1][0]
        interpolates = self.quantity == "abstain_reward"
        if asked < lowest or (interpolates and asked > highest):
            msg = (
                f"{self.quantity} = {asked} is outside of the head's calibration "
                f"({lowest} to {highest}); choose one within it or recalibrate the head"
            )
            raise CalibrationError(msg)
        below = max(i for i, (point, _) in enumerate(self.points) if point <= asked)
        if interpolates and self.points[below][0] < asked:
            return self._between(below, asked)
        return self.points[below][1]

    def _between(self, below: int, asked: float) -> Threshold:
        (x0, y0), (x1, y1) = self.points[below : below + 2]
        if NEVER in (y0, y1):
            return NEVER
        return float(y0) + (float(y1) - float(y0)) * (asked - x0) / (x1 - x0)


@dataclass(frozen=True, slots=True)
class HeadCard:
    """The sidecar of a value head.

    Attributes:
        hidden_size: Width of the hidden state that the head reads.
        scores: What a high score means; ``None`` if the head does not say.
        feature: The tensor it reads.
        threshold: Calibrated threshold in the head's own polarity.
        curves: Calibration curves in the head's own polarity, one per quantity and group.
        backbone: Identifier of the model it was trained on.
        meta: Anything else its maker wrote down.

    Raises:
        CalibrationError: Two curves are of one quantity, or a curve belongs to the other polarity.
    """

    hidden_size: int
    scores: Polarity | None = None
    feature: FeatureSpec = field(default_factory=FeatureSpec)
    threshold: Threshold | None = None
    curves: tuple[CalibrationCurve, ...] = ()
    backbone: str | None = None
    meta: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = [(curve.quantity, curve.group) for curve in self.curves]
        if len(kinds) > len(set(kinds)):
            names = ", ".join(quantity for quantity, _ in kinds)
            msg = f"curves: one for each quantity and group, got {names}"
            raise CalibrationError(msg)
        for curve in self.curves:
            if self.scores is not None and not curve.follows(self.scores):
                msg = (
                    f"the {curve.quantity} curve acts less often the more is asked for, if the "
                    f"head scores {self.scores.value}; correct scores or recalibrate the head"
                )
                raise CalibrationError(msg)

    def curve(self, quantity: Quantity, group: str | None = None) -> CalibrationCurve | None:
        """The calibration curve of ``quantity`` for a group of prompts, if the head has one."""
        kind = (quantity, group)
        return next((c for c in self.curves if (c.quantity, c.group) == kind), None)
