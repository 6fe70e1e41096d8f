"""What is known about a head beside its weights: the record behind ``<file>.meta.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from value_steer.errors import CalibrationError
from value_steer.threshold import NEVER, Threshold

if TYPE_CHECKING:
    from collections.abc import Mapping

RISING_QUANTITIES = ("target_rate", "alpha")
"""Rates and levels, which a tabulated point guarantees only up to its own value."""


class Polarity(str, Enum):
    """What a high score of the head means."""

    P_GOOD = "p_good"
    P_UNDESIRABLE = "p_undesirable"


@dataclass(frozen=True)
class FeatureSpec:
    """Which tensor of the backbone the head reads.

    Attributes:
        layer: Layer whose output is read; ``final`` is the last one.
        position: ``post_norm``: after the final norm, as ``lm_head`` consumes it.
        capture: How the training features were computed: ``decode`` in the serving engine,
            ``prefill`` by one teacher-forced pass, or ``unknown``.
    """

    layer: str = "final"
    position: str = "post_norm"
    capture: str = "unknown"


@dataclass(frozen=True)
class CalibrationCurve:
    """Thresholds for a range of operating points, measured on a calibration set.

    Attributes:
        quantity: What is asked for: ``abstain_reward``, ``target_rate`` or ``alpha``.
        points: ``(asked, threshold)`` pairs in ascending order of ``asked``.
        n: Size of the calibration set.
        guarantee: The guarantee that the thresholds carry, in words.
    """

    quantity: str
    points: tuple[tuple[float, Threshold], ...]
    n: int
    guarantee: str | None = None

    def resolve(self, asked: float) -> Threshold:
        """The threshold for an operating point.

        A rate or level takes the largest tabulated one that does not exceed it, so that the
        guarantee still holds; a reward is interpolated linearly between its neighbours.

        Raises:
            CalibrationError: The curve does not reach as far as what is asked.
        """
        lowest, highest = self.points[0][0], self.points[-1][0]
        rising = self.quantity in RISING_QUANTITIES
        if asked < lowest or (asked > highest and not rising):
            msg = (
                f"{self.quantity} = {asked} is outside of the head's calibration "
                f"({lowest} to {highest}); choose one within it or recalibrate the head"
            )
            raise CalibrationError(msg)
        below = max(i for i, (point, _) in enumerate(self.points) if point <= asked)
        if rising or self.points[below][0] == asked:
            return self.points[below][1]
        return self._between(below, asked)

    def _between(self, below: int, asked: float) -> Threshold:
        (x0, y0), (x1, y1) = self.points[below], self.points[below + 1]
        if y0 == NEVER or y1 == NEVER:
            return y0
        return float(y0) + (float(y1) - float(y0)) * (asked - x0) / (x1 - x0)


@dataclass(frozen=True)
class HeadCard:
    """The sidecar of a value head.

    Attributes:
        hidden_size: Width of the hidden state that the head reads.
        scores: What a high score means; ``None`` if the head does not say.
        feature: The tensor it reads.
        threshold: Calibrated threshold in the head's own polarity.
        curves: Calibration curves in the head's own polarity.
        backbone: Identifier of the model it was trained on.
        meta: Anything else its maker wrote down.
    """

    hidden_size: int
    scores: Polarity | None = None
    feature: FeatureSpec = field(default_factory=FeatureSpec)
    threshold: Threshold | None = None
    curves: tuple[CalibrationCurve, ...] = ()
    backbone: str | None = None
    meta: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def curve(self, quantity: str) -> CalibrationCurve | None:
        """The calibration curve of ``quantity``, if the head has one."""
        return next((c for c in self.curves if c.quantity == quantity), None)
