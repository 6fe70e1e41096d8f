"""The one form of a threshold."""

from __future__ import annotations

import pytest

from value_steer.threshold import NEVER, Threshold, complement, is_threshold


@pytest.mark.parametrize("value", [0, 1, 0.0, 0.37, 1.0, "never"])
def test_a_probability_or_never_is_a_threshold(value: object) -> None:
    """Whole numbers count as probabilities."""
    assert is_threshold(value)


@pytest.mark.parametrize(
    "value",
    [-0.1, 1.1, 10**400, float("nan"), float("inf"), True, "0.5", "Never", None, [0.5], {}],
)
def test_anything_else_is_none(value: object) -> None:
    """Out of range, not a number, or a word other than ``never``."""
    assert not is_threshold(value)


@pytest.mark.parametrize(("threshold", "turned"), [(0.25, 0.75), (0.0, 1.0), (NEVER, NEVER)])
def test_the_opposite_event_has_the_complement(threshold: Threshold, turned: Threshold) -> None:
    """``never`` stays ``never``."""
    assert complement(threshold) == turned
    assert complement(turned) == threshold
