"""Whether a head would act on the traffic as often as it was calibrated to; no labels needed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from value_steer.calibration.bounds import clopper_pearson_interval
from value_steer.calibration.levels import places
from value_steer.threshold import NEVER, Threshold, complement
from value_steer.value_probe import Polarity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from value_steer.recalibration.recorded import Traffic
    from value_steer.value_probe import CalibrationCurve, HeadCard


@dataclass(frozen=True, slots=True)
class Share:
    """How many of so many.

    Attributes:
        events: How many.
        n: Of how many.
        low: Lower end of the exact 95 % interval of the share (Clopper and Pearson).
        high: Its upper end.
    """

    events: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, events: int, n: int) -> Share:
        """The share with its interval; ``n`` is one at least."""
        return cls(events, n, *clopper_pearson_interval(events, n))

    @property
    def rate(self) -> float:
        """The share itself."""
        return self.events / self.n


@dataclass(frozen=True, slots=True)
class Calibrated:
    """On how many of the calibration set a level of the curve acts.

    Equal values are acted on together or not at all, so a threshold may act on fewer than its level
    allows; the neighbouring levels say on how many it does at least.

    Attributes:
        least: On so many at least.
        most: And on so many at most.
        n: Of how many.
        low: Lower end of the exact 95 % interval of the share, were it the least.
        high: Upper end of that, were it the most.
    """

    least: int
    most: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, least: int, most: int, n: int) -> Calibrated:
        """The shares with their intervals; ``n`` is one at least."""
        low, _ = clopper_pearson_interval(least, n)
        _, high = clopper_pearson_interval(most, n)
        return cls(least, most, n, low, high)


@dataclass(frozen=True, slots=True)
class Level:
    """A threshold of a head and its effect.

    Attributes:
        target_rate: The level of the curve; ``None`` for the head's own threshold.
        threshold: In the head's own polarity.
        calibrated: On how much of the calibration set it acts; ``None``: not known.
        traffic: Of the recorded requests, what it would act on.
    """

    target_rate: float | None
    threshold: Threshold
    calibrated: Calibrated | None
    traffic: Share

    @property
    def drifted(self) -> bool:
        """Whether the two intervals do not meet.

        The calibrated rate is known as far as its own set goes: held to be exact, it would lie
        outside of the traffic's interval for every head once there is enough traffic.
        """
        if self.calibrated is None:
            return False
        return self.calibrated.high < self.traffic.low or self.traffic.high < self.calibrated.low


@dataclass(frozen=True, slots=True)
class Otherwise:
    """Answers that were generated otherwise than those of the calibration.

    Attributes:
        setting: What is different.
        answers: In how many.
        most: The most frequent difference, in words.
    """

    setting: str
    answers: int
    most: str


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of a head's calibration on recorded traffic.

    Attributes:
        otherwise: How answers were generated otherwise; empty too where the curves do not say how
            theirs were.
        levels: Of the head's target_rate curve, then its own threshold; those that never act are
            left out.
    """

    otherwise: tuple[Otherwise, ...]
    levels: tuple[Level, ...]

    @property
    def drifted(self) -> tuple[Level, ...]:
        """The levels that act more or less often than they were calibrated to."""
        return tuple(level for level in self.levels if level.drifted)


def drift_of(traffic: Traffic, card: HeadCard) -> Drift:
    """Compare recorded traffic with a head's calibration.

    Args:
        traffic: Of the head.
        card: Its card.
    """
    # The answers to one request are not independent, so its first one speaks for it.
    single = {answer.id: answer for answer in reversed(traffic.answers)}
    good = [_good(answer.values, traffic.scores) for answer in single.values()]
    scores = np.array([traffic.rule.score(values) for values in good])
    curve = card.curve("target_rate")
    levels = [] if curve is None else list(_of_curve(curve, scores, traffic.scores))
    if card.threshold is not None and card.threshold != NEVER:
        acts = _acted(scores, card.threshold, traffic.scores)
        levels.append(Level(None, card.threshold, None, acts))
    return Drift(tuple(_otherwise(traffic, card)), tuple(levels))


def _of_curve(
    curve: CalibrationCurve, scores: NDArray[np.float64], polarity: Polarity
) -> Iterator[Level]:
    points = [(rate, threshold) for rate, threshold in curve.points if 0 < rate < 1]
    for rate, threshold in points:
        if threshold == NEVER:
            continue
        calibrated = None
        if curve.n > 0:
            first = min(other for other, same in points if same == threshold)
            below = max((other for other, _ in points if other < first), default=None)
            most = max(0, places(curve.n, first) - 1)
            least = 0 if below is None else min(places(curve.n, below), most)
            calibrated = Calibrated.of(least, most, curve.n)
        yield Level(rate, threshold, calibrated, _acted(scores, threshold, polarity))


def _acted(scores: NDArray[np.float64], threshold: Threshold, polarity: Polarity) -> Share:
    good = threshold if polarity is Polarity.P_GOOD else complement(threshold)
    return Share.of(int((scores < float(good)).sum()), len(scores))


def _good(values: NDArray[np.float32], polarity: Polarity) -> NDArray[np.float64]:
    """P(good) in double precision."""
    exact = values.astype(np.float64)
    return exact if polarity is Polarity.P_GOOD else 1.0 - exact


def _otherwise(traffic: Traffic, card: HeadCard) -> Iterator[Otherwise]:
    calibrated = next((c.settings for c in card.curves if c.settings is not None), None)
    if calibrated is None:
        return
    lines = Counter(
        line for answer in traffic.answers for line in calibrated.differences(answer.settings)
    )
    settings = Counter[str]()
    for line, count in lines.items():
        settings[line.partition(":")[0]] += count
    for setting, count in settings.items():
        most = next(line for line, _ in lines.most_common() if line.startswith(f"{setting}:"))
        yield Otherwise(setting, count, most.partition(": ")[2])
