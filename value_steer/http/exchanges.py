"""What must be known of the requests that a server is answering."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.http.asgi import Message, Receive


@dataclass(slots=True, eq=False)
class Exchange:
    """One request that is being answered.

    Attributes:
        alone: Whether no other one was answered at the same time under the same id of its caller's
            choice; otherwise nobody can say whose an outcome is.
        entered: When it came, in seconds since the epoch.
    """

    alone: bool = True
    entered: float = field(default_factory=time.time)


class Exchanges:
    """The requests that are being answered, by the ids that callers chose for them."""

    def __init__(self) -> None:
        self._open: dict[str, list[Exchange]] = {}

    @contextlib.contextmanager
    def one(self, name: str) -> Iterator[Exchange]:
        """A request, while it is answered.

        Args:
            name: What its caller calls it; empty: the server chooses, and never twice the same.
        """
        exchange = Exchange()
        if not name:
            yield exchange
            return
        same = self._open.setdefault(name, [])
        same.append(exchange)
        if len(same) > 1:
            for other in same:
                other.alone = False
        try:
            yield exchange
        finally:
            same.remove(exchange)
            if not same:
                del self._open[name]


class Recorded:
    """The ``receive`` of a request, whose body can be read again.

    Args:
        receive: The server's.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._parts: list[bytes] = []

    async def __call__(self) -> Message:
        """Receive a message."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._parts.append(message.get("body", b""))
        return message

    def body(self) -> bytes:
        """What was received of the body."""
        return b"".join(self._parts)
