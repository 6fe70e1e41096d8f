"""How many candidates run at once follows from how often they are refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from value_steer.engine.pace import Pace


def _after(refused: int, accepted: int) -> Pace:
    """A pace that has seen candidates refused and accepted at an even rate."""
    pace = Pace()
    for _ in range(20):
        for _ in range(accepted):
            pace.note(refused // accepted, accepted=True)
        if not accepted:
            pace.note(refused, accepted=False)
    return pace


def test_one_at_a_time_until_something_is_known() -> None:
    """The first search of an engine does not guess."""
    assert Pace().breadth == 1


@given(st.integers(1, 40))
def test_one_run_is_likely_to_do(refused: int) -> None:
    """So many that at most one row in ten is left without a token, and not one more."""
    breadth = _after(refused, 1).breadth

    rate = refused / (refused + 1)
    assert rate**breadth <= 0.1 + 1e-9
    assert breadth == 1 or rate ** (breadth - 1) > 0.1 - 1e-9


def test_rare_refusals_are_tried_one_by_one() -> None:
    """A further candidate that is not needed costs a row."""
    pace = Pace()
    for number in range(100):
        pace.note(int(number % 20 == 0), accepted=True)

    assert pace.breadth == 1


def test_refusals_without_end_keep_the_breadth_finite() -> None:
    """Where nothing is ever accepted the candidates of a request are the limit."""
    assert 100 < _after(8, 0).breadth < 1000


def test_what_was_long_ago_counts_less() -> None:
    """After a stretch of refusals the breadth comes down again with the refusals."""
    pace = _after(8, 0)
    wide = pace.breadth

    for _ in range(2000):
        pace.note(0, accepted=True)

    assert (wide > 1, pace.breadth) == (True, 1)
