"""One answer, with or without somebody who reads it before it is shown."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@dataclass(frozen=True)
class Reader:
    """A guard that reads what was written so far, again and again.

    Attributes:
        read: Reads a text.
        every: After how many words, which are tokens here.
    """

    read: Callable[[str], Awaitable[None]]
    every: int


async def answer(prompt: str, parts: AsyncIterator[str], reader: Reader | None) -> float:
    """Take an answer from beginning to end: seconds until something of it may be shown."""
    began, shown, unread, text = time.perf_counter(), None, 0, prompt
    async for part in parts:
        text += part
        unread += len(part.split())
        if reader is not None and unread >= reader.every:
            await reader.read(text)
            unread = 0
        if shown is None and (reader is None or unread == 0):
            shown = time.perf_counter() - began
    if reader is not None and unread:
        await reader.read(text)
    return shown if shown is not None else time.perf_counter() - began
