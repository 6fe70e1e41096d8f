"""Thresholds of abstention: for a rate, for a bound on withheld good answers, for a reward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from value_steer.calibration.isotonic import isotonic_fit
from value_steer.calibration.levels import below_threshold_of
from value_steer.calibration.numbers import array_of, probabilities_of, whole_of
from value_steer.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from value_steer.threshold import Threshold


@dataclass(frozen=True, slots=True)
class AbstentionRule:
    """When the runtime ends a response: the ``abstain`` section's own settings.

    Attributes:
        min_tokens: First response token that may be judged, counted from 1.
        patience: Consecutive judged tokens below the threshold before the response ends.

    Raises:
        CalibrationError: One of them is no whole number from 1 on.
    """

    min_tokens: int = 1
    patience: int = 1

    def __post_init__(self) -> None:
        # Trajectories have no value before the first response token.
        whole_of("min_tokens", self.min_tokens, 1)
        whole_of("patience", self.patience, 1)

    def score(self, values: ArrayLike) -> float:
        """The threshold above which a response is ended; infinite if it is never judged.

        Args:
            values: P(good) after each response token, shape ``[T]``.
        """
        return float(self._sustained(values).min(initial=math.inf))

    def crossings(self, values: ArrayLike, thresholds: ArrayLike) -> NDArray[np.float64]:
        """The value at which each threshold ends a response, NaN where it does not.

        Args:
            values: P(good) after each response token, shape ``[T]``.
            thresholds: Shape ``[K]``.
        """
        lowest = np.minimum.accumulate(np.append(self._sustained(values), -math.inf))
        # Ascending when negated; the last one stands for a response that is not ended.
        at = np.searchsorted(-lowest, -np.asarray(thresholds, dtype=np.float64), side="right")
        crossed: NDArray[np.float64] = np.where(at < len(lowest) - 1, lowest[at], math.nan)
        return crossed

    def _sustained(self, values: ArrayLike) -> NDArray[np.float64]:
        """The largest of each run of ``patience`` judged values; what is no number is below all."""
        judged = probabilities_of("trajectories", values)[self.min_tokens - 1 :]
        judged = np.where(np.isnan(judged), -math.inf, judged)
        if self.patience == 1:
            return judged
        if len(judged) < self.patience:
            return judged[:0]
        largest: NDArray[np.float64] = sliding_window_view(judged, self.patience).max(axis=1)
        return largest


def rate_threshold(
    trajectories: Sequence[ArrayLike],
    rate: float,
    rule: AbstentionRule,
    prompts: Sequence[str] | None = None,
) -> Threshold:
    """The largest threshold with ``P(abstain) <= rate``.

    Args:
        trajectories: P(good) after each response token, one array for each response.
        rate: Target share of responses that are ended.
        rule: The runtime's settings.
        prompts: Prompt of each response, if some have several.

    Returns:
        A threshold that is exact in fp32; ``"never"`` if there are too few prompts.

    Source: "Knowing When to Quit", rate targeting, in its finite-sample form.
    """
    return below_threshold_of([rule.score(values) for values in trajectories], rate, prompts)


def withholding_threshold(
    good_labels: ArrayLike, trajectories: Sequence[ArrayLike], alpha: float, rule: AbstentionRule
) -> Threshold:
    """The largest threshold with ``P(abstain | good) <= alpha``: few good answers are withheld.

    Args:
        good_labels: 1 for a good response, 0 for a bad one; one response for each prompt.
        trajectories: P(good) after each response token.
        alpha: Bound on the probability that a good response is ended.
        rule: The runtime's settings.

    Returns:
        A threshold that is exact in fp32; ``"never"`` if there are too few good responses.
    """
    good = array_of("good_labels", good_labels) == 1
    if good.shape != (len(trajectories),):
        msg = f"good_labels: must be {len(trajectories)} numbers, one for each trajectory"
        raise CalibrationError(msg)
    return rate_threshold([trajectories[i] for i in np.flatnonzero(good).tolist()], alpha, rule)


def abstention_rewards(
    good_labels: ArrayLike,
    trajectories: Sequence[ArrayLike],
    thresholds: Sequence[float],
    rule: AbstentionRule,
) -> list[float | None]:
    """For each threshold the reward of abstaining at which it is the right one.

    Returns:
        The probability of being good at the threshold, see :func:`pooled_rewards`; ``None`` where
        fewer than ``MIN_ABSTENTIONS`` responses are ended.
    """
    asked = probabilities_of("thresholds", thresholds)
    scores = np.array([rule.score(values) for values in trajectories])
    judged = scores[np.isfinite(scores)]
    if not judged.size:
        return [None] * len(asked)
    pool = np.quantile(judged, POOLED_RATES)
    crossings = np.stack([rule.crossings(values, pool) for values in trajectories])
    rewards = pooled_rewards(crossings, np.asarray(good_labels, dtype=np.float64), asked)
    enough = (scores[:, None] < asked).sum(axis=0) >= MIN_ABSTENTIONS
    return [float(r) if known else None for r, known in zip(rewards, enough, strict=True)]


def pooled_rewards(
    crossings: NDArray[np.float64], labels: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """P(good) at thresholds, regressed isotonically on the values at which responses are ended.

    A first crossing is a selected value, so a fit to all tokens would be another function. The
    crossings of many thresholds are pooled, because a fit to those of one threshold would be read
    at its very edge.

    Args:
        crossings: The value at which each of ``K`` thresholds ends each response, shape ``[N, K]``;
            NaN where it does not.
        labels: How good each response is, shape ``[N]``.
        thresholds: Where to read the fit, shape ``[M]``.

    Returns:
        Shape ``[M]``, NaN if no response is ended.

    Source: "Knowing When to Quit", evaluation in terms of the reward.
    """
    ended = ~np.isnan(crossings)
    if not ended.any():
        return np.full(len(thresholds), math.nan)
    knots, levels = isotonic_fit(crossings[ended], labels[ended.nonzero()[0]])
    return np.asarray(np.interp(thresholds, knots, levels), dtype=np.float64)


POOLED_RATES = np.linspace(0.02, 0.98, 50)
"""Shares of ended responses at whose thresholds crossings are pooled, as the paper's."""

MIN_ABSTENTIONS = 50
"""Fewer say little of the probability of being good."""
