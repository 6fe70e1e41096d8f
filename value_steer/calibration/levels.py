"""How many calibration scores a level lets through, and the thresholds next to a score.

A new score is exchangeable with ``n`` calibration scores. If only those above the ``m``-th largest
act, it acts with probability at most ``m / (n + 1)``, whatever the distribution, ties included.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from value_steer.calibration.bounds import clopper_pearson_upper
from value_steer.calibration.numbers import array_of, number_of
from value_steer.errors import CalibrationError
from value_steer.threshold import NEVER, Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-9
"""A level such as 0.29 is a decimal, and 100 times it must be 29."""


def require_level(name: str, level: float) -> None:
    """Refuse what is no level.

    Raises:
        CalibrationError: It is not a number between 0 and 1, or so close to either that it could
            not be told from it.
    """
    if not _ROUNDING <= number_of(name, level, 0, 1) <= 1 - _ROUNDING:
        msg = f"{name} = {level}: must be a number between 0 and 1"
        raise CalibrationError(msg)


def places(n: int, alpha: float, confidence: float | None = None) -> int:
    """How many of ``n + 1`` places, the new score's among them, may act.

    Args:
        n: Number of calibration scores.
        alpha: Bound on the probability that a new score acts.
        confidence: ``None``: the bound holds on average over calibration sets. A number: it holds
            for this calibration set with that probability, by Clopper and Pearson's bound.

    Returns:
        ``m``: a score acts if it is above the ``m``-th largest; 0: none may.
    """
    require_level("alpha", alpha)
    if confidence is None:
        return min(n, math.floor((n + 1) * alpha + _ROUNDING))
    require_level("confidence", confidence)
    fits, fails = 0, n + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if clopper_pearson_upper(middle - 1, n, confidence) <= alpha:
            fits = middle
        else:
            fails = middle
    return fits


def smallest_n(alpha: float, confidence: float | None = None) -> int:
    """The least number of calibration scores with which anything may act."""
    if confidence is None:
        return math.ceil(1 / alpha - _ROUNDING) - 1
    return math.ceil(math.log1p(-confidence) / math.log1p(-alpha) - _ROUNDING)


def just_above(score: float) -> Threshold:
    """The least threshold in fp32 that ``score >= threshold`` does not reach.

    A score that is rounded to fp32 does not reach it either. ``"never"`` if none is in [0, 1].

    Raises:
        CalibrationError: The score is below 0 or not a number.
    """
    number_of("score", score, 0, math.inf)
    above = float(np.nextafter(np.float32(score), np.float32(np.inf)))
    return above if above <= 1 else NEVER


def just_below(score: float) -> Threshold:
    """The largest threshold in fp32 at which ``score < threshold`` is false.

    Raises:
        CalibrationError: The score is not a number.
    """
    number_of("score", score, -math.inf, math.inf)
    rounded = np.float32(score)
    if float(rounded) > score:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return max(0.0, min(1.0, float(rounded)))


def below_threshold_of(
    scores: ArrayLike, rate: float, prompts: Sequence[str] | None = None
) -> Threshold:
    """The largest threshold below which a new score lies with probability at most ``rate``.

    Several responses to one prompt share that prompt's weight, and the new response's prompt is
    exchangeable with the ``K`` others; this is the hierarchical conformal quantile of Lee, Barber
    and Willett (2023), and the usual one with one response each.

    Args:
        scores: Of the responses, shape ``[n]``; one may be infinite.
        rate: Between 0 and 1.
        prompts: Prompt of each response; ``None``: all are different.

    Returns:
        A threshold that is exact in fp32; ``"never"`` if ``K`` is too small for this rate.
    """
    require_level("rate", rate)
    values = array_of("scores", scores)
    if values.ndim != 1 or np.isnan(values).any():
        msg = "scores: must be a list of numbers, none of them NaN"
        raise CalibrationError(msg)
    shares, prompt_count = shares_of(prompts, len(values))
    order = np.argsort(values, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(shares[order])[:-1]])
    fits = np.flatnonzero(before + 1 <= rate * (prompt_count + 1) + _ROUNDING)
    return just_below(float(values[order][fits[-1]])) if len(fits) else NEVER


def shares_of(prompts: Sequence[str] | None, n: int) -> tuple[NDArray[np.float64], int]:
    """The weight of each response, a prompt weighing 1; and the number of prompts."""
    if prompts is None:
        return np.ones(n), n
    if len(prompts) != n:
        msg = f"{n} trajectories, but {len(prompts)} prompts; give one prompt for each"
        raise CalibrationError(msg)
    counts = Counter(prompts)
    return np.array([1.0 / counts[prompt] for prompt in prompts]), len(counts)
