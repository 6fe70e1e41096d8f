"""The workers of a server's engines, asked through the server's own client of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from value_steer.http.notices import Notices


class Engines:
    """The engines behind a server: one, or several under data parallelism.

    Args:
        client: The server's ``engine_client``.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401  (the host's)
        self._client = client
        self._core = getattr(client, "engine_core", None)
        # Of several engines, the public call returns what the first one says.
        self._call_one = getattr(self._core, "_call_utility_async", None)

    @property
    def reaches_all(self) -> bool:
        """Whether every engine can be asked."""
        return self._call_one is not None or len(self._ranks()) <= 1

    async def ask(self, method: str, *args: object) -> list[Any]:
        """The return value of each engine's first worker."""
        ranks = self._ranks()
        if self._call_one is None or len(ranks) <= 1:
            return [await self.tell(method, *args)]
        call = ("collective_rpc", method, None, args, None)
        replies = await asyncio.gather(*(self._call_one(*call, engine=rank) for rank in ranks))
        return [workers[0] for workers in replies]

    def _ranks(self) -> list[Any]:
        """The engines that are there now; they may become more or fewer while they serve."""
        return list(getattr(self._core, "core_engines", ()))

    async def tell(self, method: str, *args: object) -> Any:  # noqa: ANN401  (plain values)
        """Call every worker of every engine; what the first one returns."""
        return (await self._client.collective_rpc(method, args=args))[0]


Outcome = dict[str, Any]
"""As ``steer_answers`` of a worker gives it."""
_Answers: TypeAlias = "Mapping[str, Mapping[str, Outcome]]"
"""By the id that a caller knows and the number of the answer."""

_PATIENCE = 1.0
"""Seconds that an answer waits for an outcome that the engine does not know yet."""
_SLOWEST = 5.0
"""Seconds that an answer waits for the engine to say anything: a step may take that long."""
_FEWEST = 8
"""Times that it is asked, at least: on a busy machine a second may pass unnoticed."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.004, 0.05
_MISSES = 8
"""After so many answers in a row without an outcome, the next ones do not wait for theirs."""


@dataclass(eq=False)
class _Wait:
    names: Sequence[str]
    answer: str
    entered: float
    asked: int = 0
    since: float = 0.0
    found: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Outcomes:
    """Finds the outcomes of answers; all that wait are asked for in one call.

    Args:
        engines: Whom to ask.
        notices: Is told of what fails.
        patience: Seconds to wait for an outcome that the engine does not know.
        slowest: Seconds to wait for the engine.
    """

    def __init__(
        self,
        engines: Engines,
        notices: Notices,
        patience: float = _PATIENCE,
        slowest: float = _SLOWEST,
    ) -> None:
        self._engines, self._notices = engines, notices
        self._patience, self._slowest = patience, slowest
        self._waiting: list[_Wait] = []
        self._came = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._stuck = self._is_asking = False
        self._misses = 0

    async def find(self, names: Sequence[str], answer: int, entered: float) -> Outcome | None:
        """The outcome of an answer; ``None`` if nobody can say in time.

        Args:
            names: Ids of requests, the last one known counts.
            answer: Its number among the answers to that request.
            entered: When the server got the request, in seconds since the epoch.
        """
        if self._stuck:  # the engine has not answered the last question yet
            return None
        wait = _Wait(names, str(answer), entered)
        self._waiting.append(wait)
        self._came.set()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            done, _ = await asyncio.wait([wait.found], timeout=self._slowest)
        finally:
            self._waiting = [other for other in self._waiting if other is not wait]
        if not done:
            self._stuck = self._is_asking
            self._notices.warn("the engine does not say what became of answers")
            return None
        return wait.found.result() or None

    async def _ask(self) -> None:
        """Ask for all that wait until none does."""
        pause = _FIRST_PAUSE
        await asyncio.sleep(0.001)  # a step may end several answers: ask for them together
        while waiting := list(self._waiting):
            self._came.clear()
            try:
                self._settle(waiting, await self._fetch(waiting))
            except Exception as error:  # noqa: BLE001  (told to the operator; answers go on)
                self._notices.warn("the engine cannot be asked what became of answers", error)
                self._give_up(waiting)
            if not self._waiting:
                return
            try:
                await asyncio.wait_for(self._came.wait(), pause)
                pause = _FIRST_PAUSE
            except asyncio.TimeoutError:
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def _fetch(self, waiting: Sequence[_Wait]) -> list[_Answers]:
        """The outcomes that each engine knows; several may know the same id."""
        names = list(dict.fromkeys(name for wait in waiting for name in wait.names))
        self._is_asking = True
        try:
            return await self._engines.ask("steer_answers", names)
        finally:
            self._stuck = self._is_asking = False

    def _settle(self, waiting: Sequence[_Wait], found: Sequence[_Answers]) -> None:
        lacking = []
        for wait in waiting:
            outcome = _own(wait, found)
            if outcome is None:
                lacking.append(wait)
            else:
                self._misses = 0
                _give(wait, outcome)
        late = [wait for wait in lacking if self._is_late(wait)]
        self._misses += len(late)
        if late:
            self._notices.warn("the outcome of an answer did not come: passed on without one")
        self._give_up(lacking if self._misses >= _MISSES else late)
        self._waiting = [wait for wait in self._waiting if not wait.found.done()]

    def _is_late(self, wait: _Wait) -> bool:
        """Whether the engine has had the time to know an outcome."""
        now = time.monotonic()
        wait.asked += 1
        wait.since = wait.since or now
        return wait.asked >= _FEWEST and now - wait.since >= self._patience

    def _give_up(self, waiting: Sequence[_Wait]) -> None:
        for wait in waiting:
            _give(wait, {})
        self._waiting = [other for other in self._waiting if other not in waiting]


def _own(wait: _Wait, found: Sequence[_Answers]) -> Outcome | None:
    """The outcome of an answer, not that of an earlier one under the same id.

    A caller may use an id again, and an engine may still know the last answer only.
    """
    for name in reversed(wait.names):
        for answers in found:
            outcome = answers.get(name, {}).get(wait.answer)
            if outcome is not None and outcome["arrived"] >= wait.entered:
                return outcome
    return None


def _give(wait: _Wait, outcome: Outcome) -> None:
    if not wait.found.done():  # its caller may have gone
        wait.found.set_result(outcome)
