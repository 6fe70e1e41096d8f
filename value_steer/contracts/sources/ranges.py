"""A remote file that is read in place, by HTTP ranges."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests
    from typing_extensions import Buffer

# A wheel's table of contents is at its end; this holds that of any vLLM up to now.
_TAIL = 1 << 20
_CHUNK = 1 << 16
_CONNECTIONS = 4
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class RangesUnsupportedError(ContractError):
    """The server sends whole files only."""


class RangeFile(io.RawIOBase):
    """A seekable view of the file at ``url``; each part is fetched at most once.

    Raises:
        RangesUnsupportedError: The server does not answer with ranges.
        requests.RequestException: It does not answer, or with an error.
    """

    def __init__(self, session: requests.Session, url: str) -> None:
        super().__init__()
        self._session = session
        self._url = url
        self._parts: list[tuple[int, bytes]] = []
        self._position = 0
        self._size = self._fetch(f"bytes=-{_TAIL}")

    def prefetch(self, spans: Iterable[tuple[int, int]]) -> None:
        """Fetch several ``(start, stop)`` spans at once; those close together as one."""
        missing = _joined((a, min(b, self._size)) for a, b in spans if self._held(a) is None)
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            for _ in pool.map(self._fetch, [f"bytes={a}-{b - 1}" for a, b in missing]):
                pass

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to ``offset``, counted as for any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill ``buffer`` as far as the file goes; what is not held is fetched."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self._size - self._position))
        done = 0
        while done < wanted:
            held = self._held(self._position)
            if held is None:
                stop = min(self._size, self._position + max(wanted - done, _CHUNK))
                self._fetch(f"bytes={self._position}-{stop - 1}")
                continue
            piece = held[: wanted - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def _held(self, position: int) -> memoryview | None:
        for start, data in self._parts:
            if start <= position < start + len(data):
                return memoryview(data)[position - start :]
        return None

    def _fetch(self, span: str) -> int:
        """Fetch one span and return the size of the whole file."""
        with self._session.get(self._url, headers={"Range": span}, stream=True) as answer:
            answer.raise_for_status()
            match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if answer.status_code != 206 or match is None:
                msg = "the server does not send parts of files"
                raise RangesUnsupportedError(msg)
            data = answer.content
        start, last, size = map(int, match.groups())
        if len(data) != last - start + 1:
            msg = f"the server sent {len(data)} bytes for {span}; try again"
            raise ContractError(msg)
        self._parts.append((start, data))
        return size


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Fewer spans: a request costs more than the few bytes between two of them."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if joined and start - joined[-1][1] <= _CHUNK:
            first, last = joined.pop()
            joined.append((first, max(last, stop)))
        else:
            joined.append((start, stop))
    return joined
