"""A remote file that is read in place, by HTTP ranges."""

from __future__ import annotations

import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from value_steer.contracts.sources.answers import Question, ask
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests
    from typing_extensions import Buffer

# A wheel's table of contents is at its end; this holds that of any vLLM up to now.
_TAIL = 1 << 20
_CHUNK = 1 << 16
_CONNECTIONS = 4
_CONTENT_RANGE = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(\d{1,12})", re.ASCII)

LARGEST_WHEEL = 8 << 30
"""Bytes of a wheel; the largest on the index has 1 GiB."""

MOST_BYTES = 64 << 20
"""The most that is fetched of one wheel: the texts of a vLLM are 5 MiB of it."""

MOST_REQUESTS = 1024
"""How often a wheel is asked for a part."""

MOST_SECONDS = 900.0
"""How long one wheel is read for."""


class RangesUnsupportedError(ContractError):
    """The server sends whole files only."""


class RangeFile(io.RawIOBase):
    """A seekable view of the file at ``url``; each part is fetched at most once.

    Raises:
        RangesUnsupportedError: The server does not answer with ranges.
        ContractError: It does not answer, with an error, or with other than what was asked for;
            or the file would take more bytes, requests or time than a wheel can need.
    """

    def __init__(self, session: requests.Session, url: str) -> None:
        super().__init__()
        self._session = session
        self._url = url
        self._shown = Question(url, 0, 0).shown
        self._parts: list[tuple[int, bytes]] = []
        self._position = 0
        self._bytes_left = MOST_BYTES
        self._requests_left = MOST_REQUESTS
        self._deadline = time.monotonic() + MOST_SECONDS
        self._size = self._fetch_tail()

    def prefetch(self, spans: Iterable[tuple[int, int]]) -> None:
        """Fetch several ``(start, stop)`` spans at once; those close together as one."""
        missing = _joined((a, min(b, self._size)) for a, b in spans if self._held(a) is None)
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            for _ in pool.map(lambda span: self._fetch(*span), missing):
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
                self._fetch(self._position, stop)
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

    def _fetch_tail(self) -> int:
        """Fetch the end of the file and return the size of the whole."""
        start, last, size = self._ask(f"bytes=-{_TAIL}", _TAIL)
        if last != size - 1 or start != max(0, size - _TAIL) or size > LARGEST_WHEEL:
            raise self._refusal((start, last, size), f"the last {_TAIL} bytes")
        return size

    def _fetch(self, start: int, stop: int) -> None:
        """Fetch a span of the file, which is then held."""
        found = self._ask(f"bytes={start}-{stop - 1}", stop - start)
        if found != (start, stop - 1, self._size):
            raise self._refusal(found, f"bytes {start} to {stop - 1} of {self._size}")

    def _ask(self, span: str, most: int) -> tuple[int, int, int]:
        """Ask for a span; the first and last byte that came, and the size of the whole."""
        self._bytes_left -= most
        self._requests_left -= 1
        seconds = self._deadline - time.monotonic()
        if self._bytes_left < 0 or self._requests_left < 0 or seconds <= 0:
            msg = (
                f"{self._shown} would take more than {MOST_BYTES:,} bytes, "
                f"{MOST_REQUESTS:,} requests or {MOST_SECONDS:.0f} s to read; no wheel of vLLM does"
            )
            raise ContractError(msg)
        content = bytearray()
        question = Question(self._url, most, seconds, span)
        start, last, size = _span_of(ask(self._session, question, content.extend, _span_of))
        if len(content) != last - start + 1:
            msg = f"{self._shown} sent {len(content)} bytes as bytes {start} to {last}; try again"
            raise ContractError(msg)
        self._parts.append((start, bytes(content)))
        return start, last, size

    def _refusal(self, sent: tuple[int, int, int], asked: str) -> ContractError:
        first, last, size = sent
        return ContractError(
            f"{self._shown} sent bytes {first} to {last} of {size}, asked for {asked}; try again"
        )


def _span_of(answer: requests.Response) -> tuple[int, int, int]:
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status_code != 206 or match is None:
        msg = "the server does not send parts of files"
        raise RangesUnsupportedError(msg)
    start, last, size = map(int, match.groups())
    return start, last, size


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
