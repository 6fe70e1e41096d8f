"""A threshold on a probability, or the word for none."""

from __future__ import annotations

from typing import Literal, TypeAlias

NEVER: Literal["never"] = "never"
"""The threshold that no value crosses."""

Threshold: TypeAlias = float | Literal["never"]
"""A number in [0, 1], or ``"never"``."""

ALLOWED = 'a number from 0 to 1, or "never"'


def is_threshold(value: object) -> bool:
    """Whether ``value`` is a threshold; a bool or a NaN is not."""
    return (isinstance(value, str) and value == NEVER) or is_probability(value)


def is_probability(value: object) -> bool:
    """Whether ``value`` is a number from 0 to 1; a bool or a NaN is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def as_threshold(value: Threshold) -> Threshold:
    """A threshold in its one form: whole numbers become floats."""
    return NEVER if value == NEVER else float(value)


def complement(threshold: Threshold) -> Threshold:
    """The same threshold on the opposite event: ``1 - c``."""
    return NEVER if threshold == NEVER else 1.0 - float(threshold)
