"""Exact binomial bounds and isotonic regression, against their definitions."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from value_steer.calibration import clopper_pearson_upper
from value_steer.calibration.isotonic import isotonic_fit
from value_steer.errors import CalibrationError


@pytest.mark.parametrize(("events", "n"), [(0, 1), (0, 100), (3, 40), (59, 60), (17, 300)])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_the_bound_is_where_so_few_events_become_improbable(
    events: int, n: int, confidence: float
) -> None:
    """The binomial distribution in exact arithmetic."""
    p = Fraction(clopper_pearson_upper(events, n, confidence))
    at_most = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(events + 1))

    assert float(at_most) == pytest.approx(1 - confidence, abs=1e-9)


def test_the_bound_of_no_event_and_of_all() -> None:
    """The two that can be written down."""
    assert clopper_pearson_upper(0, 50, 0.95) == pytest.approx(1 - 0.05 ** (1 / 50))
    assert clopper_pearson_upper(50, 50) == 1.0
    assert 0.5 < clopper_pearson_upper(5_000, 10_000) < 0.51


@pytest.mark.parametrize(("events", "n", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (0, 0, 0.9)])
def test_impossible_counts_are_refused(events: int, n: int, confidence: float) -> None:
    """A mistake upstream."""
    with pytest.raises(CalibrationError, match="have no bound"):
        clopper_pearson_upper(events, n, confidence)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 8).map(float)), min_size=1, max_size=25)
)
def test_the_fit_is_the_least_of_the_largest_means(points: list[tuple[int, float]]) -> None:
    """The min-max formula of isotonic regression."""
    x = np.array([a for a, _ in points])
    y = np.array([b for _, b in points])
    knots, fitted = isotonic_fit(x, y)

    assert knots.tolist() == sorted(set(x.tolist()))
    assert (np.diff(fitted) >= 0).all()
    for i, knot in enumerate(knots):
        expected = max(
            min(y[(x >= low) & (x <= high)].mean() for high in knots[i:])
            for low in knots[knots <= knot]
        )
        assert fitted[i] == pytest.approx(expected)
