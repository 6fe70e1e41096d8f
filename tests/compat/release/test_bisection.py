"""The search for the first bad release, on rows of outcomes."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from compat.release.bisection import Span, State, search

GOOD, BAD, UNKNOWN = State.GOOD, State.BAD, State.UNKNOWN
LENGTHS = st.integers(2, 40)


def truth(length: int, first_bad: int) -> list[State]:
    """Good releases up to the first bad one, and bad ones from there on."""
    return [GOOD] * first_bad + [BAD] * (length - first_bad)


class Prober:
    """Answers from the truth, except where it cannot; remembers what it was asked."""

    def __init__(self, outcomes: list[State], dark: frozenset[int] = frozenset()) -> None:
        self.outcomes = outcomes
        self.dark = dark
        self.asked: list[int] = []

    def __call__(self, at: int) -> State:
        """The outcome at a position."""
        self.asked.append(at)
        return UNKNOWN if at in self.dark else self.outcomes[at]


def blank(length: int) -> list[State]:
    """Nothing is known but the ends."""
    return [GOOD, *[UNKNOWN] * (length - 2), BAD]


@given(LENGTHS, st.data())
def test_the_first_bad_release_is_found_wherever_it_is(length: int, data: st.DataObject) -> None:
    """With no more probes than bisection needs, and none of them twice."""
    first_bad = data.draw(st.integers(1, length - 1))
    prober = Prober(truth(length, first_bad))

    assert search(blank(length), prober) == Span(first_bad - 1, first_bad)
    assert len(prober.asked) <= math.ceil(math.log2(length - 1)) if length > 2 else not prober.asked
    assert len(set(prober.asked)) == len(prober.asked)


@given(LENGTHS, st.data())
def test_what_cannot_be_decided_widens_the_answer_and_nothing_else(
    length: int, data: st.DataObject
) -> None:
    """The truth is inside the answer, and what lies between its ends is dark, each of it tried."""
    first_bad = data.draw(st.integers(1, length - 1))
    dark = frozenset(data.draw(st.sets(st.integers(1, length - 1))))
    prober = Prober(truth(length, first_bad), dark)

    found = search(blank(length), prober)

    assert found.good < first_bad <= found.bad
    assert set(found.undecided) <= dark
    assert set(found.undecided) <= set(prober.asked)


@given(LENGTHS, st.data())
def test_what_is_known_is_not_asked(length: int, data: st.DataObject) -> None:
    """Evidence that is there already narrows the search before the first probe."""
    first_bad = data.draw(st.integers(1, length - 1))
    outcomes = truth(length, first_bad)
    hidden = data.draw(st.sets(st.integers(1, length - 1)))
    known = [UNKNOWN if i in hidden else outcome for i, outcome in enumerate(outcomes)]
    prober = Prober(outcomes)

    assert search(known, prober) == Span(first_bad - 1, first_bad)
    assert set(prober.asked) <= hidden


@given(st.lists(st.sampled_from(State), max_size=20))
def test_a_release_that_is_good_again_is_told(between: list[State]) -> None:
    """Evidence that is not of one piece still has a first bad release; the rest is not hidden."""
    known = [GOOD, *between, BAD]

    found = search(known, lambda _: UNKNOWN)

    assert known[found.good] is GOOD
    assert found.bad == known.index(BAD)
    assert all(known[at] is UNKNOWN for at in found.undecided)
    assert found.recovered == tuple(
        i for i, outcome in enumerate(known) if outcome is GOOD and i > found.bad
    )


def test_neighbours_need_no_search() -> None:
    """Where nothing lies between, the answer is there."""
    assert search([GOOD, BAD], Prober([])) == Span(0, 1)
