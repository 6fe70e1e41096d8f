"""Synthetic responses of the kinds that calibration meets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from value_steer.trajectories import Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray


def peaks_of(kind: str, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Largest values of safe responses, shape ``[n]``."""
    plain = rng.beta(2, 5, n)
    if kind == "tied":
        plain = plain.round(1)
    if kind == "saturated":
        plain = np.where(rng.random(n) < 0.2, 1.0, plain)
    if kind == "neighbours":
        # A few steps of fp32 around one number.
        plain = np.float32(0.7) + rng.integers(0, 12, n) * np.spacing(np.float32(0.7))
    return plain.astype(np.float32)


KINDS = ("continuous", "tied", "saturated", "neighbours")


def responses_of(peaks: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Trajectories with these largest values, in the middle of lower ones."""
    columns = np.stack([peaks / 2, peaks, peaks / 3], axis=1).astype(np.float32)
    return list(columns)


def walks(
    rng: np.random.Generator, n: int, tokens: int = 40, spread: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int_]]:
    """Values of an exact head along ``n`` responses, shape ``[n, tokens]``, and what came true.

    The value is the probability that a Brownian motion ends above 0, which is a martingale; its
    start differs from response to response by ``spread``.
    """
    start = rng.normal(0, spread, (n, 1))
    path = start + rng.normal(0, tokens**-0.5, (n, tokens)).cumsum(axis=1)
    left = 1 - np.arange(1, tokens + 1) / tokens
    z = path[:, :-1] / np.sqrt(left[:-1])
    # The logistic function is close enough to the normal distribution function here.
    inner = 1 / (1 + np.exp(-1.702 * z))
    good = path[:, -1] > 0
    values = np.concatenate([inner, good[:, None]], axis=1)
    return values.astype(np.float32), good.astype(int)


def trajectories_of(
    values: NDArray[np.float32], labels: NDArray[np.int_], per_prompt: int = 1
) -> list[Trajectory]:
    """Records of these responses, ``per_prompt`` of them to each prompt."""
    return [
        Trajectory(f"p{i // per_prompt}", v, float(label))
        for i, (v, label) in enumerate(zip(values, labels, strict=True))
    ]
