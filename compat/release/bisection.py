"""The search for the first bad one of a row of releases; nothing here knows what a release is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class State(Enum):
    """The state of one release."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Span:
    """Where good turns into bad, by position.

    Attributes:
        good: The last release that is known to be good.
        bad: The first one after it that is known to be bad.
        recovered: Releases after ``bad`` that are good again.
    """

    good: int
    bad: int
    recovered: tuple[int, ...] = ()

    @property
    def undecided(self) -> range:
        """The releases between that could not be decided; none if ``bad`` is the first bad one."""
        return range(self.good + 1, self.bad)


def search(known: Sequence[State], probe: Callable[[int], State]) -> Span:
    """Find the first bad release, with as few probes as bisection needs.

    Args:
        known: What is known beforehand; the first is taken for good and the last for bad.
        probe: Finds out about one that is not known; it may not be able to.
    """
    last = len(known) - 1
    bad = next((i for i in range(1, last) if known[i] is State.BAD), last)
    good = max((i for i in range(1, bad) if known[i] is State.GOOD), default=0)
    recovered = tuple(i for i in range(bad, last) if known[i] is State.GOOD)
    hopeless: set[int] = set()
    while candidates := [i for i in range(good + 1, bad) if i not in hopeless]:
        middle = min(candidates, key=lambda i: abs(2 * i - good - bad))
        found = probe(middle)
        if found is State.GOOD:
            good = middle
        elif found is State.BAD:
            bad = middle
        else:
            hopeless.add(middle)
    return Span(good, bad, recovered)
