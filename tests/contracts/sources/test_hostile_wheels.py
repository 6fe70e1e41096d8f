"""A server that lies about a wheel, stalls or never ends costs one clear error."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from tests.contracts.hostile_server import CONTENT, NAME, ONCE, SIZE, Reply, answering
from value_steer.contracts.sources import ranges, wheel
from value_steer.contracts.sources.index import IndexWheel, project_wheels
from value_steer.contracts.sources.pip_config import IndexSettings
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("fresh_session")


def part(body: bytes, span: str) -> Reply:
    """A 206 answer with a Content-Range."""
    return Reply([body], 206, {"Content-Range": span, "Content-Length": str(len(body))})


def entry(url: str, sha256: str = "0" * 64) -> IndexWheel:
    """What the index says of the wheel at an address."""
    return IndexWheel(NAME, Version("1.2.3"), 0, "any", url, sha256, "", False, None)  # noqa: FBT003


def refusal(reply: Callable[[str, str], Reply], cache: Path, settings: IndexSettings = ONCE) -> str:
    """What reading a file of the wheel at such a server ends with."""
    with answering(reply) as address:
        tree = WheelTree(entry(f"{address}{NAME}?token=hidden"), settings, cache)
        with pytest.raises(ContractError) as error:
            tree.read("vllm/a.py")
    text = str(error.value)
    assert NAME in text
    assert "secret" not in text
    assert "hidden" not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("body", "span"),
    [
        (b"", f"bytes 0-{SIZE - 1}/{SIZE}"),
        (CONTENT, f"bytes 1-{SIZE}/{SIZE}"),
        (CONTENT, f"bytes 0-{SIZE - 1}/{SIZE + 1}"),
        (CONTENT[:-1], f"bytes 0-{SIZE - 2}/{SIZE}"),
        (CONTENT[1:], f"bytes 1-{SIZE - 1}/{SIZE}"),
        (b"", "bytes 0--1/0"),
        (CONTENT, f"bytes {SIZE - 1}-0/{SIZE}"),
        (CONTENT[-1:], f"bytes {10**20 - 1}-{10**20 - 1}/{10**20}"),
        (CONTENT, f"bytes 0-{SIZE - 1}/{9 << 30}"),
    ],
)
def test_the_tail_must_be_the_tail(body: bytes, span: str, tmp_path: Path) -> None:
    """Its bytes, their number and the size of the whole must agree, whatever the server says."""
    refusal(lambda *_: part(body, span), tmp_path)


@pytest.mark.parametrize(
    ("shift", "length", "grown"),
    [(1, 0, 0), (-1, 0, 0), (0, -1, 0), (0, 0, 1), (0, -64, 0)],
    ids=["later", "earlier", "shorter", "of another file", "empty"],
)
def test_a_part_must_cover_what_was_asked(
    shift: int, length: int, grown: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of other bytes would be asked for again and again."""
    monkeypatch.setattr(ranges, "_TAIL", 120)
    monkeypatch.setattr(ranges, "_CHUNK", 64)
    asked: list[str] = []

    def reply(_: str, span: str) -> Reply:
        asked.append(span)
        if len(asked) == 1:
            return part(CONTENT[-120:], f"bytes {SIZE - 120}-{SIZE - 1}/{SIZE}")
        first, last = map(int, span.removeprefix("bytes=").split("-"))
        start, stop = max(0, first + shift), last + 1 + shift + length
        return part(CONTENT[start:stop], f"bytes {start}-{stop - 1}/{SIZE + grown}")

    refusal(reply, tmp_path)
    assert len(asked) == 2


def test_a_wheel_is_not_asked_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests, bytes and time are bounded: just enough is enough, one less is an error."""
    asked: list[int] = []

    def reply(_: str, span: str) -> Reply:
        first, last = span.removeprefix("bytes=").split("-")
        start, stop = (int(first), int(last) + 1) if first else (SIZE - int(last), SIZE)
        asked.append(stop - start)
        return part(CONTENT[start:stop], f"bytes {start}-{stop - 1}/{SIZE}")

    def read() -> str | None:
        with answering(reply) as address:
            return WheelTree(entry(address + NAME), IndexSettings(), tmp_path).read("vllm/a.py")

    monkeypatch.setattr(ranges, "_TAIL", 120)
    monkeypatch.setattr(ranges, "_CHUNK", 64)
    assert read() == "a = 1\n"
    requests, size = len(asked), sum(asked)
    assert requests > 1

    monkeypatch.setattr(ranges, "MOST_REQUESTS", requests)
    monkeypatch.setattr(ranges, "MOST_BYTES", size)
    assert read() == "a = 1\n"
    monkeypatch.setattr(ranges, "MOST_REQUESTS", requests - 1)
    assert f"{requests - 1} requests" in refusal(reply, tmp_path)
    monkeypatch.setattr(ranges, "MOST_REQUESTS", requests)
    monkeypatch.setattr(ranges, "MOST_BYTES", size - 1)
    assert f"{size - 1} bytes" in refusal(reply, tmp_path)
    monkeypatch.setattr(ranges, "MOST_BYTES", size)
    monkeypatch.setattr(ranges, "MOST_SECONDS", 0.0)
    assert "0 s to read" in refusal(reply, tmp_path)


def endless() -> Iterator[bytes]:
    """Content without an end."""
    return itertools.repeat(b"\0" * 4096)


def test_a_body_is_not_read_beyond_what_was_asked(tmp_path: Path) -> None:
    """A range with an endless body is given up once it is longer than the range."""
    reply = Reply(endless(), 206, {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"})

    assert "sends more than 1,048,576 bytes" in refusal(lambda *_: reply, tmp_path)


def test_a_download_is_not_read_beyond_the_largest_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the largest is read, one byte more is not; what was written is removed."""
    monkeypatch.setattr(wheel, "LARGEST_WHEEL", SIZE)
    digest = hashlib.sha256(CONTENT).hexdigest()
    with answering(lambda *_: Reply([CONTENT])) as address:
        tree = WheelTree(entry(address + NAME, digest), IndexSettings(), tmp_path / "whole")
        assert tree.read("vllm/a.py") == "a = 1\n"
    for headers in ({}, {"Content-Length": str(10**25)}, {"Content-Length": str(SIZE + 1)}):
        reply = Reply([CONTENT, b"\0"], headers=headers)
        assert "sends more than" in refusal(lambda *_, reply=reply: reply, tmp_path / "cut")

    assert [path for path in (tmp_path / "cut").rglob("*") if path.is_file()] == []


def drip(content: bytes) -> Iterator[bytes]:
    """A byte now and then, each in time for a socket."""
    for byte in content:
        yield bytes([byte])
        time.sleep(0.05)


def test_a_server_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is bounded from the first byte to the last, not from one to the next."""
    monkeypatch.setattr(ranges, "MOST_SECONDS", 0.5)
    headers = {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"}
    started = time.monotonic()

    text = refusal(lambda *_: Reply(drip(b"\0" * 1000), 206, headers), tmp_path)
    assert "did not answer whole in 0 s" in text
    assert time.monotonic() - started < 5


def test_a_redirect_is_not_read_and_not_followed_for_ever(tmp_path: Path) -> None:
    """Five redirects are the most; the content of one, endless here, is nobody's business."""

    def reply(path: str, _: str) -> Reply:
        return Reply(endless(), 302, {"Location": f"/{NAME}/{len(path)}"})

    assert "TooManyRedirects" in refusal(reply, tmp_path)


@pytest.mark.parametrize("status", [404, 416, 500, 503])
def test_an_error_of_the_server_names_its_status(status: int, tmp_path: Path) -> None:
    """The message of the library would have had the password."""
    assert f"status {status}" in refusal(lambda *_: Reply([b"no"], status), tmp_path)


def test_an_error_is_tried_again_without_reading_its_page(tmp_path: Path) -> None:
    """As often as pip would; a page without an end is no reason to wait."""
    asked: list[str] = []

    def reply(_: str, span: str) -> Reply:
        asked.append(span)
        return Reply(endless(), 503)

    started = time.monotonic()
    assert "status 503" in refusal(reply, tmp_path, IndexSettings(retries=2))
    assert len(asked) == 3
    assert time.monotonic() - started < 5


def test_silence_is_waited_for_as_long_as_pip_would(tmp_path: Path) -> None:
    """The time-out of its configuration holds for pages and for parts."""

    def reply(*_: str) -> Reply:
        time.sleep(1)
        return Reply()

    settings = IndexSettings(timeout=0.2, retries=0)
    assert "ConnectionError" in refusal(reply, tmp_path, settings)
    with answering(reply) as address, pytest.raises(ContractError, match="ConnectionError"):
        project_wheels("vllm", replace(settings, address=address))


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip"])
def test_a_part_is_not_inflated(encoding: str, tmp_path: Path) -> None:
    """A content encoding that was not asked for could make much out of little."""
    headers = {"Content-Encoding": encoding, "Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"}

    text = refusal(lambda *_: Reply([gzip.compress(CONTENT)], 206, headers), tmp_path)
    assert "was not asked for" in text
