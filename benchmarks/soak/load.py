"""Asks a server everything a soak asks: alone, all at once, and alone again."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.soak import client, serving
from benchmarks.soak.comparison import difference
from benchmarks.soak.record import Change, Sample
from benchmarks.soak.schedule import PAIRS, Arrival, arrival

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.soak.client import Answer
    from benchmarks.soak.record import Key, Record
    from benchmarks.soak.schedule import Template
    from benchmarks.soak.serving import SoakServer

_THRESHOLDS = "/v1/value-steer/thresholds"
_BAD: dict[str, float | str] = {"abstain": 4}
_BUSY = 503
_SAMPLING = 2.0
_IDLE_SECONDS = 120.0
_PERIOD = 60.0
_NEVER = {"abstain_threshold": 0.0, "vfd_threshold": 1.0}
_LAST = {"model": "tiny", "prompt": [9, 9], "max_tokens": 3, "vllm_xargs": _NEVER}
"""The last requests are closed by the steps after them, and the last batch is kept.

Judged and never refused, whichever thresholds are in force: a refused token is kept as well.
"""


class LoadGenerator:
    """Puts a server under the load of a run.

    Args:
        server: Serves.
        session: A client of it.
        templates: What is asked.
        record: Takes in what comes.
    """

    def __init__(
        self,
        server: SoakServer,
        session: aiohttp.ClientSession,
        templates: list[Template],
        record: Record,
    ) -> None:
        self._server, self._session = server, session
        self._templates, self._record = templates, record
        self._open: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float, requests: int, written: Callable[[], object]) -> None:
        """Ask, and take in what comes.

        Args:
            seconds: Of load, at most.
            requests: Of load, at most.
            written: Is called now and then, for what there is to be kept.
        """
        self._record.alone = await self._alone()
        await self._settle()
        if not self._record.plain:
            self._record.before = await self._server.census()
        watch = asyncio.create_task(self._watch(written))
        try:
            await self._load(time.monotonic() + seconds, requests)
        finally:
            watch.cancel()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
        await self._settle()
        if not self._record.plain:
            self._record.after = await self._server.census()
        await self._again()

    async def _alone(self) -> dict[Key, Answer]:
        """Every answer that may be asked for, one at a time."""
        found: dict[Key, Answer] = {}
        fixed = [template for template in self._templates if not template.follows]
        for template in fixed:
            found[template.number, None] = await client.ask(self._session, template.body, None)
        if self._record.plain:
            return found
        for pair in (*range(1, len(PAIRS)), 0):  # it begins with the first one
            await self._change(pair)
            for template in self._templates:
                if template.follows:
                    answer = await client.ask(self._session, template.body, None)
                    found[template.number, pair] = answer
        return found

    async def _again(self) -> None:
        """The same afterwards: whatever the load has left behind, they stay what they were."""
        before, started = self._record.alone, len(self._record.changes)
        for (number, pair), answer in (await self._alone()).items():
            self._record.compared += 1
            if (why := difference(before[number, pair], answer)) is not None:
                asked = Arrival(self._record.finished, number, None, 1, pair)
                template = self._templates[number]
                self._record.fail("difference", asked, template, f"alone afterwards, {why}")
        del self._record.changes[started:]

    async def _load(self, deadline: float, requests: int) -> None:
        number = 0
        while number < requests and time.monotonic() < deadline and self._server.is_alive():
            now = arrival(self._record.seed, number, self._templates)
            while len(self._open) >= now.abreast:
                await asyncio.wait(self._open, return_when=asyncio.FIRST_COMPLETED)
            if now.pair is not None and not self._record.plain:
                await self._change(now.pair)
            task = asyncio.create_task(self._one(now))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            number += 1
        if self._open:
            await asyncio.wait(self._open)

    async def _one(self, asked: Arrival) -> None:
        template = self._templates[asked.template]
        try:
            answer = await client.ask(self._session, template.body, asked.hang_up)
        except (aiohttp.ClientError, ValueError) as error:
            self._record.fail("connection", asked, template, repr(error))
            return
        self._record.take(asked, template, answer)

    async def _change(self, pair: int) -> None:
        changes = self._record.changes
        changes.append(Change(pair, time.monotonic()))
        for body, expected in ((PAIRS[pair], 200), (_BAD, 400)):
            status = await serving.post(self._session, _THRESHOLDS, body)
            while status == _BUSY and self._server.is_alive():  # it has changed nothing
                self._record.kinds["thresholds 503"] += 1
                await asyncio.sleep(_SAMPLING)
                status = await serving.post(self._session, _THRESHOLDS, body)
            if status != expected:
                msg = f"the server said {status} to the thresholds {body}"
                raise SystemExit(msg)
            changes[-1].taken = min(changes[-1].taken, time.monotonic())

    async def _settle(self) -> None:
        """Wait until the engine has no request left, and has forgotten the last ones.

        Raises:
            SystemExit: It keeps some.
        """
        until = time.monotonic() + _IDLE_SECONDS
        while await self._busy():
            if time.monotonic() > until:
                msg = f"requests are left in the engine after {_IDLE_SECONDS:.0f} s"
                raise SystemExit(msg)
            await asyncio.sleep(0.5)
        for _ in range(2):
            await serving.post(self._session, "/v1/completions", _LAST)
        await asyncio.sleep(1.1)  # what is told of the engine may be a second old
        await self._busy()

    async def _busy(self) -> bool:
        """Whether the engine has requests."""
        self._record.metrics = now = await serving.metrics(self._session)
        self._server.read_log()
        self._record.asynchronous = self._server.is_asynchronous
        return bool(now["vllm:num_requests_running"] + now["vllm:num_requests_waiting"])

    async def _watch(self, written: Callable[[], object]) -> None:
        then = time.monotonic() + _PERIOD
        while True:
            record = self._record
            sample = Sample(
                finished=record.finished,
                tokens=record.tokens,
                load=os.getloadavg()[0],
                busy=serving.busy(),
                own=time.process_time(),
                at=time.monotonic(),
                usage=self._server.usage(),
            )
            record.samples.append(sample)
            if time.monotonic() >= then:
                then += _PERIOD
                record.metrics = await serving.metrics(self._session)
                written()
            await asyncio.sleep(_SAMPLING)
