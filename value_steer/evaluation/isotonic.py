"""Monotone regression: the probability of being correct as a rising function of a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from value_steer.evaluation.intervals import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Isotonic:
    """A rising function, linear between its knots and constant outside of them.

    Attributes:
        at: The knots, ascending.
        level: The function there.
    """

    at: Floats
    level: Floats

    def __call__(self, score: float) -> float:
        """The function at a score."""
        return float(np.interp(score, self.at, self.level))


def fit_isotonic(scores: Floats, labels: Floats) -> Isotonic:
    """Least squares over all rising functions; equal scores share one level.

    Args:
        scores: Of at least one response.
        labels: How far each was correct, from 0 to 1.
    """
    at, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(codes, weights=labels) / counts
    fitted = isotonic_regression(means, weights=counts)
    return Isotonic(at, np.clip(fitted.x, 0.0, 1.0))
