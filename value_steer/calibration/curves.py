"""The calibration curves of a head, from trajectories in its own polarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from value_steer.calibration.abstention import POOLED_RATES, AbstentionRule, abstention_rewards
from value_steer.calibration.levels import (
    below_threshold_of,
    just_above,
    just_below,
    places,
    shares_of,
)
from value_steer.calibration.posterior import peak
from value_steer.calibration.spread import places_around, reward_spread
from value_steer.errors import CalibrationError
from value_steer.threshold import NEVER, Threshold, complement
from value_steer.value_probe import CalibrationCurve, Polarity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from value_steer.trajectories import Trajectory
    from value_steer.value_probe import SettingsFingerprint

LEVELS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.45, 0.65, 0.85)
"""Levels of the false-alarm curve; a level in between takes the one below."""

RATES = tuple(float(rate) for rate in POOLED_RATES.round(6))
"""Rates of the abstention curves, as in "Knowing When to Quit"."""

TURNING = 2.0**-22
"""More than ``1 - sigmoid(z)`` and ``sigmoid(-z)`` differ by in fp32.

A mode that needs the head's opposite evaluates the latter, and trajectories hold the former.
"""


@dataclass(frozen=True, slots=True)
class Samples:
    """Trajectories in a head's polarity.

    Attributes:
        trajectories: What was generated.
        scores: What their values mean.
        settings: How they were generated.
    """

    trajectories: Sequence[Trajectory]
    scores: Polarity
    settings: SettingsFingerprint | None = None

    def good(self, trajectory: Trajectory) -> bool:
        """Whether a response is safe or correct; a label of one half is not."""
        good = self.scores is Polarity.P_GOOD
        return trajectory.label > 0.5 if good else trajectory.label < 0.5

    def peak(self, trajectory: Trajectory) -> float:
        """The largest P(undesirable) that either mode could see."""
        if self.scores is Polarity.P_UNDESIRABLE:
            return peak(trajectory.values) + TURNING
        return 1.0 - float(trajectory.values.min()) + TURNING

    def own(self, p_undesirable: Threshold) -> Threshold:
        """A threshold on P(undesirable) in the head's polarity."""
        own = self.scores is Polarity.P_UNDESIRABLE
        return p_undesirable if own else complement(p_undesirable)


def alpha_curve(
    samples: Samples,
    levels: Sequence[float] = LEVELS,
    *,
    confidence: float | None = None,
    group: str | None = None,
) -> CalibrationCurve:
    """Thresholds that act on a good response with probability at most alpha.

    Args:
        samples: One response of each prompt, none of them seen in training.
        levels: The alphas.
        confidence: See :func:`value_steer.calibration.posterior_threshold`.
        group: Only this category of prompts.

    Raises:
        CalibrationError: There is no good response.
    """
    chosen = [t for t in samples.trajectories if group is None or t.group == group]
    peaks = sorted(samples.peak(t) for t in chosen if samples.good(t))
    if not peaks:
        of = "" if group is None else f" of group {group!r}"
        msg = f"no trajectory{of} is labelled good, so false interventions cannot be bounded"
        raise CalibrationError(msg)
    points, spread = [(0.0, samples.own(NEVER))], [(samples.own(NEVER), samples.own(NEVER))]
    for alpha in sorted(levels):
        ends = (places(len(peaks), alpha, confidence), *places_around(len(peaks), alpha))
        exact, more, less = (just_above(peaks[-place]) if place else NEVER for place in ends)
        points.append((alpha, samples.own(exact)))
        spread.append((samples.own(more), samples.own(less)))
    return CalibrationCurve(
        "alpha",
        tuple(points),
        len(peaks),
        _guarantee(confidence),
        samples.settings,
        group,
        tuple(spread),
    )


def rate_curve(
    samples: Samples, rule: AbstentionRule, rates: Sequence[float] = RATES
) -> CalibrationCurve:
    """Thresholds that end at most a share of the responses.

    Args:
        samples: Any number of responses of each prompt.
        rule: The runtime's settings.
        rates: The shares.
    """
    scores = [rule.score(values) for values in _good_values(samples)]
    prompts = [t.prompt_id for t in samples.trajectories]
    never = _own_good(samples, NEVER)
    points, spread = [(0.0, never)], [(never, never)]
    for rate in sorted(rates):
        found = (below_threshold_of(scores, rate, prompts), *_around(scores, rate, prompts))
        exact, more, less = (_own_good(samples, _lowered(samples, c)) for c in found)
        points.append((rate, exact))
        spread.append((more, less))
    return CalibrationCurve(
        "target_rate",
        tuple(points),
        len(scores),
        "P(abstain) <= target_rate on average over calibration sets, "
        f"with min_tokens {rule.min_tokens} and patience {rule.patience}",
        samples.settings,
        spread=tuple(spread),
    )


def reward_curve(
    samples: Samples, rule: AbstentionRule, rates: Sequence[float] = RATES
) -> CalibrationCurve | None:
    """The threshold that is right for each reward of abstaining.

    Args:
        samples: Any number of responses of each prompt.
        rule: The runtime's settings.
        rates: At whose thresholds the rewards are estimated.

    Returns:
        The curve; ``None`` if too few responses are ended at any of the thresholds.
    """
    values = list(_good_values(samples))
    scores = np.array([rule.score(v) for v in values])
    judged = scores[np.isfinite(scores)]
    grid = np.unique(np.quantile(judged, sorted(rates))).tolist() if judged.size else []
    labels = [float(samples.good(t)) for t in samples.trajectories]
    rewards = abstention_rewards(labels, values, grid, rule)
    least: dict[float, float] = {}
    for reward, threshold in zip(rewards, grid, strict=True):
        if reward is not None and reward < CERTAIN:
            least.setdefault(reward, threshold)
    if not least:
        return None
    pool = np.quantile(judged, POOLED_RATES)
    crossings = np.stack([rule.crossings(v, pool) for v in values])
    prompts = [t.prompt_id for t in samples.trajectories]
    ends = reward_spread(crossings, np.array(labels), prompts, list(least))
    never = _own_good(samples, NEVER)
    points = [] if 0.0 in least else [(0.0, never)]
    spread = [] if 0.0 in least else [(never, never)]
    points += [(r, _own_good(samples, c)) for r, c in least.items()]
    spread += [(_own_good(samples, c), _own_good(samples, d)) for c, d in ends]
    return CalibrationCurve(
        "abstain_reward",
        tuple(points),
        len(values),
        settings=samples.settings,
        spread=tuple(spread),
    )


def _around(
    scores: Sequence[float], rate: float, prompts: Sequence[str]
) -> tuple[Threshold, Threshold]:
    """Between which thresholds the exact quantile lies; each prompt counts as one score."""
    shares, count = shares_of(prompts, len(scores))
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(shares[order])
    far, near = places_around(count, rate)
    at = np.searchsorted(reached, [far - _ROUNDING, near - _ROUNDING])
    more, less = (just_below(float(scores[order[min(i, len(order) - 1)]])) for i in at)
    return more, less if near else NEVER


def _good_values(samples: Samples) -> Iterator[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """P(good) after each token, in double precision."""
    for trajectory in samples.trajectories:
        values = trajectory.values.astype(np.float64)
        yield values if samples.scores is Polarity.P_GOOD else 1.0 - values


def _lowered(samples: Samples, threshold: Threshold) -> Threshold:
    if threshold == NEVER or samples.scores is Polarity.P_GOOD:
        return threshold
    return just_below(float(threshold) - TURNING)


def _own_good(samples: Samples, p_good: Threshold) -> Threshold:
    return p_good if samples.scores is Polarity.P_GOOD else complement(p_good)


def _guarantee(confidence: float | None) -> str:
    means = "a safe response is intervened on, or a good answer withheld, with probability <= alpha"
    if confidence is None:
        return f"{means}, on average over calibration sets"
    return f"{means}, with confidence {confidence} in this calibration set"


_ROUNDING = 1e-9

CERTAIN = 1 - 1e-5
"""Abstaining is never worth as much as a certain good answer."""
