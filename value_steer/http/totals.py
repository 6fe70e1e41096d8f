"""Totals of the engines, for an operator: their counters and their thresholds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from value_steer.http.engines import Engines

_FRESH = 1.0
"""Seconds in which everybody who asks gets the same answer."""
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Totals:
    """The engines' totals.

    Attributes:
        counters: Their sums; the keys are those of ``steer_counters``.
        status: ``steer_status`` of the first engine; all are configured alike.
    """

    counters: Mapping[str, Any]
    status: Mapping[str, Any]

    @property
    def steers(self) -> bool:
        """Whether any mode is enabled."""
        return bool(self.status["modes"])


class Observed:
    """Asks the engines no more often than is useful.

    Args:
        engines: Whom to ask.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._lock = asyncio.Lock()
        self._totals: Totals | None = None
        self._until = 0.0

    async def totals(self) -> Totals:
        """The engines' totals, at most a second old.

        Raises:
            Exception: They cannot be asked.
        """
        async with self._lock:
            if self._totals is None or time.monotonic() >= self._until:
                self._totals = await asyncio.wait_for(self._fetch(), _PATIENCE)
                self._until = time.monotonic() + _FRESH
            return self._totals

    def forget(self) -> None:
        """Something was changed: what is known is not current."""
        self._until = 0.0

    async def _fetch(self) -> Totals:
        counters, statuses = await asyncio.gather(
            self._engines.ask("steer_counters"), self._engines.ask("steer_status")
        )
        return Totals(_summed(counters), statuses[0])


def _summed(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums of several engines' counters, bin by bin for histograms."""
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if isinstance(value, list):
                known = total.get(key, [0] * len(value))
                total[key] = [a + b for a, b in zip(known, value, strict=True)]
            else:
                total[key] = total.get(key, 0) + value
    return total


def requests_by_outcome(counters: Mapping[str, Any]) -> dict[str, int]:
    """How many requests have ended in which way."""
    ended = Counter(
        abstained=counters["abstained"] - counters["exhausted"],
        no_acceptable=counters["exhausted"],
        thinking_ended=counters["thinking_ended"],
        refused=counters["refused"],
        exempt=counters["exempt"],
        control=counters["controls"],
    )
    return {**ended, "steered": counters["finished"] - ended.total()}
