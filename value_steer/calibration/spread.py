"""How far a threshold could lie elsewhere, had other prompts been drawn: 95 % intervals.

Each is a pair of thresholds: the one that acts more often, then the one that acts less often.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from value_steer.calibration.isotonic import isotonic_fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEVEL = 0.95
"""Probability that an interval holds the threshold of infinitely many prompts."""

_TAIL = (1 - LEVEL) / 2


def places_around(n: int, share: float) -> tuple[int, int]:
    """Between which places from the extreme a quantile lies, whatever the distribution.

    How many of ``n`` independent scores lie beyond the quantile is binomial.

    Args:
        n: Number of scores, at least 1.
        share: Of the scores beyond the quantile, between 0 and 1.

    Returns:
        ``(far, near)``: the quantile is at most as extreme as the ``near``-th score from the
        extreme, with ``near`` 0 if there is none, and at least as the ``far``-th, at most ``n``.
    """
    counts = np.arange(n + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((n - counts[1:] + 1) / counts[1:]))])
    at_most = np.exp(logs + counts * math.log(share) + (n - counts) * math.log1p(-share)).cumsum()
    near, far = np.searchsorted(at_most, [_TAIL, 1 - _TAIL])
    return min(n, int(far) + 1), int(near)


def reward_spread(
    crossings: NDArray[np.float64],
    labels: NDArray[np.float64],
    prompts: Sequence[str],
    rewards: Sequence[float],
    resamples: int = 100,
) -> list[tuple[float, float]]:
    """Intervals of the threshold that is right for each reward, by resampling prompts.

    Args:
        crossings: As for :func:`value_steer.calibration.abstention.pooled_rewards`; some response
            is ended.
        labels: How good each response is.
        prompts: Prompt of each response.
        rewards: Where the intervals are wanted.
        resamples: How often prompts are resampled.

    Returns:
        For each reward the largest threshold, which acts more often, and the smallest.
    """
    rows, columns = np.nonzero(~np.isnan(crossings))
    values = crossings[rows, columns]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS)))
    bins = np.searchsorted(edges, values)
    numbers = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    which = np.array([numbers[prompt] for prompt in prompts])[rows]
    generator, found = np.random.default_rng(0), []
    for _ in range(resamples):
        drawn = generator.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)))
        weights = drawn[which].astype(np.float64)
        total = np.bincount(bins, weights, len(edges)).astype(np.float64)
        good = np.bincount(bins, weights * labels[rows], len(edges)).astype(np.float64)
        there = total > 0
        if there.any():
            found.append(_thresholds(edges[there], good[there], total[there], rewards))
    low, high = np.quantile(np.array(found), [_TAIL, 1 - _TAIL], axis=0)
    return [(float(c), float(d)) for c, d in zip(high, low, strict=True)]


def _thresholds(
    edges: NDArray[np.float64],
    good: NDArray[np.float64],
    total: NDArray[np.float64],
    rewards: Sequence[float],
) -> NDArray[np.float64]:
    """The least threshold at which the regression reaches each reward, else the last."""
    knots, levels = isotonic_fit(edges, good / total, total)
    at = np.minimum(np.searchsorted(levels, rewards), len(knots) - 1)
    return np.asarray(knots[at])


_BINS = 1000
"""Crossings are resampled in so many groups, which is finer than the intervals are."""
