"""Numbers on a command line: in a range that is told, or refused before anything is done."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = (1 << 31) - 1
_MOST_SEED = (1 << 63) - 1
_LONGEST = 40


def whole_from(low: int, high: int = _MOST) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``; no count of tokens, rows or passes needs more."""

    def read(text: str) -> int:
        # Python refuses to read the longest, and torch and numpy to take them.
        try:
            number = int(text) if len(text) <= _LONGEST else None
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            msg = f"{_shown(text)} is no whole number from {low} to {high}"
            raise ArgumentTypeError(msg)
        return number

    return read


def number_from(low: float, high: float = math.inf) -> Callable[[str], float]:
    """A finite number from ``low`` to ``high``."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and low <= number <= high):
            allowed = f"from {low:g} to {high:g}" if high < math.inf else f"from {low:g} on"
            msg = f"{_shown(text)} is no number {allowed}"
            raise ArgumentTypeError(msg)
        return number

    return read


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


share = number_from(0, 1)
"""A number from 0 to 1."""

seed = whole_from(0, _MOST_SEED)
"""What numpy, torch and vLLM all take."""

amount = number_from(0)
"""A number from 0 on."""

count = whole_from(1)
"""A whole number from 1 on."""
