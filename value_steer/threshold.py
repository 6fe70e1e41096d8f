"""A threshold on a probability, or the word for none."""

from __future__ import annotations

import math
from typing import Literal, Union

NEVER: Literal["never"] = "never"
"""The threshold that no value crosses."""

Threshold = Union[float, Literal["never"]]
"""A number in [0, 1], or ``"never"``."""

ALLOWED = 'a number from 0 to 1, or "never"'


def is_threshold(value: object) -> bool:
    """Whether ``value`` is a threshold; a bool or a NaN is not."""
    return value == NEVER or is_number(value, 0.0, 1.0)


def is_number(value: object, low: float, high: float) -> bool:
    """Whether ``value`` is a finite number from ``low`` to ``high``; a bool is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and low <= value <= high


def complement(threshold: Threshold) -> Threshold:
    """The same threshold on the opposite event: ``1 - c``."""
    return NEVER if threshold == NEVER else 1.0 - float(threshold)
