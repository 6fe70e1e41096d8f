"""Thresholds and their intervals on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.threshold import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.threshold import Threshold
    from value_steer.value_probe import CalibrationCurve

_SHOWN = 5


def threshold_text(threshold: Threshold) -> str:
    """A threshold in six digits, or the word."""
    return NEVER if threshold == NEVER else f"{float(threshold):.6f}"


def interval_text(spread: tuple[Threshold, Threshold]) -> str:
    """Both ends of an interval."""
    return " to ".join(threshold_text(end) for end in spread)


def curve_lines(curve: CalibrationCurve) -> Iterator[str]:
    """A few points of a curve with their intervals, evenly chosen."""
    last = len(curve.points) - 1
    for i in sorted({round(part * last / (_SHOWN - 1)) for part in range(_SHOWN)}):
        asked, threshold = curve.points[i]
        interval = "not known" if curve.spread is None else interval_text(curve.spread[i])
        yield f"{asked:g}: {threshold_text(threshold)} (95 % interval: {interval})"
