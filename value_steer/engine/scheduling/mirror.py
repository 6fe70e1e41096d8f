"""Where a worker reads what became of requests: in its own process, or in the next message."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scheduling.outcomes import Counters, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = "value_steer_news"


@dataclass(frozen=True, slots=True)
class News:
    """The news of a scheduler for workers that live elsewhere."""

    outcomes: list[Outcome]
    counters: Counters


class Mirror:
    """A worker's view of the ledger.

    Args:
        instance: The id of the engine.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._told = Ledger()
        self._counters = Counters()

    def take(self, step: Any) -> None:
        """Read what a message of the scheduler says."""
        news: News | None = getattr(step, _NAME, None)
        if news is not None and self._near() is None:
            self._told.add(news.outcomes)
            self._counters = news.counters

    def outcomes(self, request_ids: Iterable[str] | None = None) -> list[Outcome]:
        """See :meth:`Ledger.outcomes`."""
        near = self._near()
        return (self._told if near is None else near).outcomes(request_ids)

    def answers(self, names: Iterable[str]) -> dict[str, dict[int, Outcome]]:
        """See :meth:`Ledger.answers`, for several requests."""
        near = self._near()
        ledger = self._told if near is None else near
        return {name: found for name in names if (found := ledger.answers(name))}

    @property
    def counters(self) -> Counters:
        """See :attr:`Ledger.counters`."""
        near = self._near()
        return self._counters if near is None else near.counters

    def _near(self) -> Ledger | None:
        return _LEDGERS.get((os.getpid(), self._instance))


_LEDGERS: dict[tuple[int, str], Ledger] = {}


def open_ledger(instance: str) -> Ledger:
    """The ledger of an engine whose scheduler lives in this process."""
    ledger = _LEDGERS[os.getpid(), instance] = Ledger()
    return ledger


def tell(step: Any, news: News) -> None:
    """Let a message of the scheduler carry news to the workers."""
    setattr(step, _NAME, news)
