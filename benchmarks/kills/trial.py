"""One kill: a server under load, a signal to one of its processes, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING

import aiohttp
import psutil

from benchmarks.kills.tally import Tally, is_control, judge
from benchmarks.soak import client

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.soak.client import Answer
    from benchmarks.soak.schedule import Template
    from benchmarks.soak.serving import SoakServer

STREAMS = 48
_MOST = 2000
_LONGEST_LOAD = 3.0
_SERVER_ERROR = 500
PATIENCE = 20.0
"""Seconds in which clients may hear of the end, and processes may go; vLLM's own do not always."""


async def alone(session: aiohttp.ClientSession, templates: Sequence[Template]) -> dict[int, Answer]:
    """Every answer, one at a time; a request of the control group is asked again."""
    found = {}
    for template in templates:
        answer = await client.ask(session, template.body, None)
        while is_control(answer):  # another request id is drawn
            answer = await client.ask(session, template.body, None)
        found[template.number] = answer
    return found


async def kill(  # noqa: PLR0913  (a trial has that many parts)
    server: SoakServer,
    session: aiohttp.ClientSession,
    victim: str,
    number: signal.Signals,
    expected: Mapping[int, Answer],
    templates: Sequence[Template],
    seed: int,
) -> Tally:
    """Load a server, send one of its processes a signal, and wait for what comes of it.

    Args:
        server: Serves, and has no request.
        session: A client of it.
        victim: What its process is called; ``all``: each of them.
        number: Of the signal.
        expected: The answers that are given alone.
        templates: What is asked.
        seed: Chooses the requests and the moment.
    """
    draw = random.Random(f"kill/{seed}")  # noqa: S311  (no secret)
    tally = Tally()
    family = server.family()
    victims = [p for name, p in server.processes() if victim in (name, "all")]
    asked = iter([draw.choice(templates) for _ in range(_MOST)])
    gone = asyncio.Event()
    streams = [
        asyncio.create_task(_stream(session, asked, gone, expected, tally)) for _ in range(STREAMS)
    ]
    await asyncio.sleep(draw.uniform(0.05, _LONGEST_LOAD))
    started = time.monotonic()
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    _, late = await asyncio.wait(streams, timeout=PATIENCE)
    for stream in late:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    tally.waiting = len(late)
    while remaining := [p for p in family if _is_alive(p)]:
        if time.monotonic() - started > PATIENCE:
            break
        await asyncio.sleep(0.1)
    tally.remaining = len(remaining)
    return tally


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


async def _stream(
    session: aiohttp.ClientSession,
    asked: Iterator[Template],
    gone: asyncio.Event,
    expected: Mapping[int, Answer],
    tally: Tally,
) -> None:
    """Ask one request after the other until the server is gone."""
    for template in asked:
        if gone.is_set():
            return
        try:
            answer = await client.ask(session, template.body, None)
        except (aiohttp.ClientError, ValueError):
            tally.cut += 1
            gone.set()
            return
        if answer.status >= _SERVER_ERROR:
            tally.told += 1
            gone.set()
        else:
            judge(template, expected[template.number], answer, tally)
