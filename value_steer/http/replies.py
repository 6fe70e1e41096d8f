"""Puts outcomes into a response while it is sent: all of it as it was, but for them."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

from value_steer.http.asgi import BODY, START, Message, Send, body, dumps, header, with_length
from value_steer.http.outcome import described

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from value_steer.http.engines import Outcome
    from value_steer.http.notices import Notices
    from value_steer.http.surfaces import Body, Place, Surface

    Find = Callable[[Sequence[str], int], Awaitable[Outcome | None]]

_EVENT = re.compile(rb"\r?\n\r?\n")
_FAILED = "an outcome could not be put into an answer: passed on without one"


class Reply:
    """The ``send`` of one request.

    Args:
        send: The server's.
        surface: Which API answers.
        find: Finds the outcome of an answer.
        notices: Is told of what fails.
    """

    def __init__(self, send: Send, surface: Surface, find: Find, notices: Notices) -> None:
        self._send, self._surface, self._find, self._notices = send, surface, find, notices
        self._take: Send = send
        self._start: Message | None = None
        self._held = b""

    async def __call__(self, message: Message) -> None:
        """Send a message, or hold it until it is complete."""
        if message["type"] == START:
            await self._begin(message)
        elif message["type"] == BODY:
            await self._take(message)
        else:
            await self._send(message)

    async def _begin(self, start: Message) -> None:
        kind = header(start, b"content-type").partition(";")[0].strip().lower()
        known = start["status"] == 200 and not header(start, b"content-encoding")
        if known and kind == "application/json":
            self._start, self._take = start, self._whole
            return  # its length is known when the outcome is
        if known and kind == "text/event-stream" and not header(start, b"content-length"):
            self._take = self._stream
        await self._send(start)

    async def _whole(self, message: Message) -> None:
        self._held += message.get("body", b"")
        if message.get("more_body", False) or self._start is None:
            return
        content = await self._completed(self._held, self._surface.whole)
        await self._send(
            self._start if content is self._held else with_length(self._start, len(content))
        )
        await self._send(body(content))

    async def _stream(self, message: Message) -> None:
        content, more = message.get("body", b""), message.get("more_body", False)
        if not self._held and not self._surface.marks.search(content) and _is_complete(content):
            await self._send(message)
            return
        passed, start = b"", 0
        content = self._held + content
        for end in (match.end() for match in _EVENT.finditer(content)):
            event, start = content[start:end], end
            if self._surface.marks.search(event):
                if passed:  # what came before does not wait for an outcome
                    await self._send(body(passed, more=True))
                    passed = b""
                event = await self._completed_event(event)
            passed += event
        self._held = content[start:] if more else b""
        passed += b"" if more else content[start:]
        if passed or not more:
            await self._send(body(passed, more=more))

    async def _completed_event(self, event: bytes) -> bytes:
        lines = event.splitlines(keepends=True)
        data = [at for at, line in enumerate(lines) if line.startswith(b"data:")]
        if len(data) != 1:
            return event
        line = lines[data[0]]
        text = line.removeprefix(b"data:").strip()
        told = await self._completed(text, self._surface.event)
        if told is not text:
            lines[data[0]] = b"data: " + told + line[len(line.rstrip()) :]
        return b"".join(lines)

    async def _completed(self, text: bytes, places: Callable[[Body], list[Place]]) -> bytes:
        """JSON with the outcomes in it; the very same bytes if there are none."""
        try:
            value = json.loads(text)
            if not isinstance(value, dict):  # null, for a request that the server gave up
                return text
            ends = places(value)
            found = await asyncio.gather(*(self._find(end.names, end.answer) for end in ends))
            for end, outcome in zip(ends, found, strict=True):
                if outcome is not None:
                    end.target["value_steer"] = described(outcome)
            told = any(outcome is not None for outcome in found)
            return dumps(value) if told else text
        except Exception as error:  # noqa: BLE001  (told to the operator; the answer goes on)
            self._notices.warn(_FAILED, error)
            return text


def _is_complete(content: bytes) -> bool:
    return content.endswith((b"\n\n", b"\r\n\r\n")) or not content
