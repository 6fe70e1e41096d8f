"""Isotonic regression: the non-decreasing function nearest to the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def isotonic_fit(
    x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares under monotony, by pooling adjacent violators.

    Args:
        x: Shape ``[n]``; equal values are averaged first.
        y: Shape ``[n]``.
        weights: Of the points, above 0, shape ``[n]``; ``None``: all count the same.

    Returns:
        The distinct values of ``x`` in order, and the fit at each.
    """
    knots, which = np.unique(np.asarray(x), return_inverse=True)
    values = np.asarray(y, dtype=np.float64)
    each = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    counts = np.bincount(which, each)
    means = np.bincount(which, each * values) / counts
    pools: list[tuple[float, float, int]] = []
    for mean, weight in zip(means.tolist(), counts.tolist(), strict=True):
        pool = (mean, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            pool = _pooled(pools.pop(), pool)
        pools.append(pool)
    fitted = np.repeat([mean for mean, _, _ in pools], [length for _, _, length in pools])
    return knots.astype(np.float64), fitted


def _pooled(a: tuple[float, float, int], b: tuple[float, float, int]) -> tuple[float, float, int]:
    weight = a[1] + b[1]
    return (a[0] * a[1] + b[0] * b[1]) / weight, weight, a[2] + b[2]
