"""Isotonic regression: the non-decreasing function nearest to the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def isotonic_fit(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares under monotony, by pooling adjacent violators.

    Args:
        x: Shape ``[n]``; equal values are averaged first.
        y: Shape ``[n]``.

    Returns:
        The distinct values of ``x`` in order, and the fit at each.
    """
    knots, which, counts = np.unique(np.asarray(x), return_inverse=True, return_counts=True)
    means = np.bincount(which, weights=np.asarray(y, dtype=np.float64)) / counts
    pools: list[tuple[float, int, int]] = []
    for mean, weight in zip(means.tolist(), counts.tolist(), strict=True):
        pool = (mean, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            pool = _pooled(pools.pop(), pool)
        pools.append(pool)
    fitted = np.repeat([mean for mean, _, _ in pools], [length for _, _, length in pools])
    return knots.astype(np.float64), fitted


def _pooled(a: tuple[float, int, int], b: tuple[float, int, int]) -> tuple[float, int, int]:
    weight = a[1] + b[1]
    return (a[0] * a[1] + b[0] * b[1]) / weight, weight, a[2] + b[2]
