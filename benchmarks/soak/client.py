"""One request of a soak, as a client asks it, and what it got."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse, ClientSession


@dataclass
class Answer:
    """An answer, as its client got it.

    Attributes:
        status: 200, or that of the error.
        tokens: Those that were given out.
        finish: Why it finished; ``None``: the client went away before.
        stop: Why it stopped, as far as the server says so.
        told: What stands under ``value_steer``; ``None``: nothing.
        error: Message of an error.
        started: When it was asked, in seconds of the monotonic clock.
        ended: When the last of it came.
        gaps: Seconds between two events with tokens.
    """

    status: int = 200
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    stop: Any = None
    told: dict[str, Any] | None = None
    error: str = ""
    started: float = 0.0
    ended: float = 0.0
    gaps: list[float] = field(default_factory=list)


async def ask(session: ClientSession, body: dict[str, Any], hang_up: int | None) -> Answer:
    """Ask, and hang up after so many tokens.

    Args:
        session: Knows the server and its key.
        body: Of the request.
        hang_up: ``None``: the client stays until the end.

    Raises:
        aiohttp.ClientError: The server is gone.
        ValueError: It does not say JSON.
    """
    answer = Answer(started=time.monotonic())
    async with session.post("/v1/completions", json=body) as response:
        answer.status = response.status
        if response.content_type != "text/event-stream":
            _take(answer, json.loads(await response.read()))
        elif hang_up != 0:
            await _follow(answer, response, hang_up)
        if hang_up is not None and answer.finish is None:
            response.close()  # else the connection would be used again once all has come
    answer.ended = time.monotonic()
    return answer


async def _follow(answer: Answer, response: ClientResponse, hang_up: int | None) -> None:
    last = None
    async for event in _events(response):
        before = len(answer.tokens)
        _take(answer, event)
        if len(answer.tokens) > before:
            now = time.monotonic()
            if last is not None:
                answer.gaps.append(now - last)
            last = now
        if hang_up is not None and len(answer.tokens) >= hang_up and answer.finish is None:
            return


async def _events(response: ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in response.content:
        data = line.removeprefix(b"data: ").strip()
        if data and data != b"[DONE]":
            yield json.loads(data)


def _take(answer: Answer, part: dict[str, Any]) -> None:
    if "error" in part:
        answer.status, answer.error = part["error"]["code"], part["error"]["message"]
        return
    for choice in part["choices"]:
        answer.tokens += choice.get("token_ids") or ()
        if choice["finish_reason"] is not None:
            answer.finish, answer.stop = choice["finish_reason"], choice["stop_reason"]
            answer.told = choice.get("value_steer")
