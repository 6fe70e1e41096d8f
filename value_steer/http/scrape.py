"""Adds the metrics of value-steer to the server's own, while they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.http.asgi import (
    BODY,
    START,
    Application,
    Message,
    Receive,
    Scope,
    Send,
    body,
    header,
    with_length,
)
from value_steer.http.metrics import OPENMETRICS, extended

if TYPE_CHECKING:
    from value_steer.http.notices import Notices
    from value_steer.http.totals import Observed

_TEXT = ("text/plain", OPENMETRICS)


class Scrape:
    """Answers ``GET /metrics`` as the server does, and with what the engines have counted.

    Args:
        observed: What the engines say.
        notices: Is told of what fails.
    """

    def __init__(self, observed: Observed, notices: Notices) -> None:
        self._observed, self._notices = observed, notices

    async def __call__(self, app: Application, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        # What is compressed cannot be added to.
        headers = [pair for pair in scope["headers"] if pair[0].lower() != b"accept-encoding"]
        scraped = _Scraped(send, self._observed, self._notices)
        await app({**scope, "headers": headers}, receive, scraped)


class _Scraped:
    def __init__(self, send: Send, observed: Observed, notices: Notices) -> None:
        self._send, self._observed, self._notices = send, observed, notices
        self._start: Message | None = None
        self._content = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == START and _is_exposition(message):
            self._start = message
        elif message["type"] == BODY and self._start is not None:
            self._content += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._start)
        else:
            await self._send(message)

    async def _finish(self, start: Message) -> None:
        content = self._content
        try:
            totals = await self._observed.totals()
            content = extended(content, header(start, b"content-type"), totals)
        except Exception as error:  # noqa: BLE001  (told to the operator; the server's own go on)
            self._notices.warn("the engine's counters are not in /metrics", error)
        await self._send(with_length(start, len(content)))
        await self._send(body(content))


def _is_exposition(start: Message) -> bool:
    plain = header(start, b"content-type").startswith(_TEXT)
    return plain and start["status"] == 200 and not header(start, b"content-encoding")
