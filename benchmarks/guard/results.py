"""The cost of a round's answers, each way, and the ratios."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLAIN, GUARDED, STEERED = WAYS = ("plain", "guarded", "steered")


@dataclass(frozen=True)
class Round:
    """The cost of the same answers, one way.

    Attributes:
        processor: Seconds, of all servers that it needs.
        wall: Seconds.
        shown: Seconds until something of an answer could be shown, one for each.
    """

    processor: float
    wall: float
    shown: list[float]


def lines(rounds: Sequence[Mapping[str, Round]]) -> list[str]:
    """The medians of the ratios to plain vLLM, with the smallest and the largest."""
    found = []
    for way in WAYS:
        parts = [f"{way}: something shown after {_milliseconds(rounds, way)}"]
        if way != PLAIN:
            parts += [f"{name} {_ratio(rounds, way, name)}" for name in ("processor", "wall")]
        found.append(", ".join(parts))
    return found


def _ratio(rounds: Sequence[Mapping[str, Round]], way: str, name: str) -> str:
    # Of the same round: the machine may be twice as slow in the next one.
    ratios = [getattr(each[way], name) / getattr(each[PLAIN], name) for each in rounds]
    return f"{statistics.median(ratios):.2f} of plain ({min(ratios):.2f} to {max(ratios):.2f})"


def _milliseconds(rounds: Sequence[Mapping[str, Round]], way: str) -> str:
    times = [1e3 * seconds for each in rounds for seconds in each[way].shown]
    half, most = np.percentile(times, [50, 99])
    return f"{half:.0f} ms (p99 {most:.0f})"
