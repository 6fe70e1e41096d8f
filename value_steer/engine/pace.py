"""How many candidates of a row to run at once."""

from __future__ import annotations

import math

_MEMORY = 256.0
"""Tokens after which an observation counts half."""

_LEFT = 0.1
"""The share of rows that one run may leave without an acceptable token."""


class Pace:
    """Learns how often candidates are refused, and asks for as many as that makes worth running.

    Rare refusals: one at a time, since the next one is likely to do. Frequent ones: several, since
    a further run costs more than further rows in this one.
    """

    def __init__(self) -> None:
        self._tried = 0.0
        self._refused = 0.0

    def note(self, refused: int, *, accepted: bool) -> None:
        """Take in how many candidates of a row were refused, and whether one was then accepted."""
        tried = refused + accepted
        fade = 0.5 ** (tried / _MEMORY)
        self._tried = self._tried * fade + tried
        self._refused = self._refused * fade + refused

    @property
    def breadth(self) -> int:
        """Candidates per row."""
        rate = self._refused / self._tried if self._tried else 0.0
        if rate <= _LEFT:
            return 1
        return math.ceil(math.log(_LEFT) / math.log(min(rate, 0.99)))
