"""The requests that a server is answering, and which of them can have an outcome."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.http.asgi import Message, Receive


class Exchange:
    """One request that is being answered.

    Args:
        receive: The server's.
        chosen: The id that its caller chose in its headers; empty if it chose none there.
        others: Those that are being answered, by the ids that their callers chose.

    Attributes:
        alone: Whether no other one was answered at the same time under the same id of its caller's
            choice; otherwise nobody can say whose an outcome is.
        entered: When it came, in seconds since the epoch, if its caller chose its id. The server
            chooses none twice, so no outcome of an earlier one can be taken for its own: zero.
        asked: Its body, once it is complete; empty if it is no JSON object.
    """

    def __init__(self, receive: Receive, chosen: str, others: dict[str, list[Exchange]]) -> None:
        self._receive, self._chosen, self._others = receive, chosen, others
        self._parts: list[bytes] = []
        self._names: set[str] = set()
        self.alone, self.entered = True, 0.0
        self.asked: dict[str, Any] = {}

    async def receive(self) -> Message:
        """Receive a message for the server, and read in it what the caller calls the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.asked = _read(b"".join(self._parts))
                self._parts.clear()
                self._enter()
        return message

    def leave(self) -> None:
        """It is answered."""
        for name in self._names:
            same = self._others[name]
            same.remove(self)
            if not same:
                del self._others[name]

    def _enter(self) -> None:
        own = self.asked.get("request_id")
        self._names = {self._chosen, own if isinstance(own, str) else ""} - {""}
        self.entered = time.time() if self._names else 0.0
        for name in self._names:
            same = self._others.setdefault(name, [])
            same.append(self)
            if len(same) > 1:
                for other in same:
                    other.alone = False


class Exchanges:
    """The requests that are being answered, by the ids that callers chose for them."""

    def __init__(self) -> None:
        self._open: dict[str, list[Exchange]] = {}

    @contextlib.contextmanager
    def one(self, receive: Receive, chosen: str) -> Iterator[Exchange]:
        """A request, while it is answered.

        Args:
            receive: The server's.
            chosen: What its caller calls it in its headers; empty: nothing.
        """
        exchange = Exchange(receive, chosen, self._open)
        try:
            yield exchange
        finally:
            exchange.leave()


def _read(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):  # the server refuses it in words of its own
        return {}
    return asked if isinstance(asked, dict) else {}
