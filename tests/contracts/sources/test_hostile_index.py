"""A package index that lies, stalls or never ends costs one clear error, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import time
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from tests.contracts.hostile_server import Reply, answering
from tests.contracts.release_server import wheel_bytes
from value_steer.contracts.sources import index, ranges, wheel
from value_steer.contracts.sources.index import IndexSettings, IndexWheel, project_wheels
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTENT = wheel_bytes({"vllm/a.py": "a = 1\n", "vllm/b.py": "b = 2\n"})
SIZE = len(CONTENT)
NAME = "vllm-1.2.3-cp38-abi3-manylinux_2_28_x86_64.whl"
JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture(autouse=True)
def _fresh_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    index.shared_session.cache_clear()
    yield
    index.shared_session.cache_clear()


def part(body: bytes, span: str) -> Reply:
    """A 206 answer with a Content-Range."""
    return Reply([body], 206, {"Content-Range": span, "Content-Length": str(len(body))})


def entry(url: str, sha256: str = "0" * 64) -> IndexWheel:
    """What the index says of the wheel at an address."""
    return IndexWheel(NAME, Version("1.2.3"), 0, "any", url, sha256, "", False, None)  # noqa: FBT003


def refusal(reply: Callable[[str, str], Reply], cache: Path) -> str:
    """What reading a file of the wheel at such a server ends with."""
    with answering(reply) as address:
        tree = WheelTree(entry(f"{address}{NAME}?token=hidden"), IndexSettings(), cache)
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


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip"])
def test_a_part_is_not_inflated(encoding: str, tmp_path: Path) -> None:
    """A content encoding that was not asked for could make much out of little."""
    headers = {"Content-Encoding": encoding, "Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"}

    text = refusal(lambda *_: Reply([gzip.compress(CONTENT)], 206, headers), tmp_path)
    assert "was not asked for" in text


def file(sha256: object = "0" * 64, name: object = NAME, **more: object) -> dict[str, object]:
    """One file of an index page."""
    return {"filename": name, "url": "x", "hashes": {"sha256": sha256}, **more}


def page(*files: object) -> bytes:
    """An index page in JSON."""
    meta = {"api-version": "1.1"}
    return json.dumps({"meta": meta, "name": "vllm", "versions": [], "files": files}).encode()


def listed(body: bytes, kind: str = JSON, **headers: str) -> tuple[IndexWheel, ...]:
    """The wheels of a page that is served."""
    reply = Reply([body], headers={"Content-Type": kind, **headers})
    with answering(lambda *_: reply) as address:
        return project_wheels("vllm", IndexSettings(f"{address}simple/"))


@pytest.mark.parametrize(
    "sha256", ["../../escaped", "/escaped", "", "0" * 63, "0" * 65, "g" * 64, "\u0660" * 64, "0\n"]
)
def test_a_hash_that_is_none_names_no_folder(sha256: str) -> None:
    """A hash becomes a folder of the cache; what is no hash leaves its file out."""
    assert [w.sha256 for w in listed(page(file(sha256), file("A" * 64)))] == ["a" * 64]


@pytest.mark.parametrize(
    "name",
    [
        "vllm-1.2.3-cp38-abi3-../../x.whl",
        "vllm-1.2.3-cp38-abi3-any\n.whl",
        "vllm-1.2.3-cp38-abi3-a\0b.whl",
        "vllm-1.2.3-cp38-abi3-a\\b.whl",
        f"vllm-1.2.3-cp38-abi3-{'x' * 250}.whl",
        f"vllm-{'9' * 5000}-cp38-abi3-any.whl",
        "vllm-1.2.3-cp38-abi3-a b.whl",
    ],
)
def test_a_name_that_is_none_names_no_file(name: str) -> None:
    """A file name becomes one of the cache and of the matrix."""
    assert [w.filename for w in listed(page(file(name=name), file()))] == [NAME]


DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * DEEP + b"]" * DEEP, JSON),
        (b'{"meta":' * DEEP, JSON),
        (b"", JSON),
        (b"[]", JSON),
        (b"null", JSON),
        (b"<html>down for repairs</html>", JSON),
        (page(file(name=7)), JSON),
        (page(file(), 3), JSON),
        (page(file(yanked=[[]])), JSON),
        (page({"filename": NAME}), JSON),
        (page(file(url="http://[")), JSON),
        (page(file() | {"upload-time": "when it was ready"}), JSON),
        (b'{"meta": {"api-version": "9.9"}, "name": "vllm", "files": []}', JSON),
        (b'{"meta": {"api-version": "one"}, "name": "vllm", "files": []}', JSON),
        (b'<meta name="pypi:repository-version" content="2.0">', "text/html"),
        (b'<meta name="pypi:repository-version" content="' + b"9" * 5000 + b'">', "text/html"),
        (b'<base href="http://["><a href="x">y</a>', "text/html"),
        (b"\x00", "application/octet-stream"),
    ],
)
def test_a_page_that_is_none_is_one_clear_error(body: bytes, kind: str) -> None:
    """Whatever the libraries below make of it, the error is ours and says what to check."""
    with pytest.raises(ContractError, match="no page of a package index") as error:
        listed(body, kind)
    assert "secret" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_page_that_takes_its_parser_hours_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's parser of HTML takes the square of the length of some pages."""
    monkeypatch.setattr(index, "_PARSING_SECONDS", 0.3)

    with pytest.raises(ContractError, match="takes more than 0 s to parse"):
        listed(b"<a" * 60_000, "text/html")


def test_a_page_is_read_up_to_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest page is read, one byte more is not; for HTML there is a smaller bound."""
    body, html = page(file()), f'<a href="x#sha256={"0" * 64}">{NAME}</a>'.encode()
    monkeypatch.setattr(index, "LARGEST_PAGE", len(body))
    monkeypatch.setattr(index, "LARGEST_HTML", len(html))

    assert len(listed(body)) == 1
    assert len(listed(html, "text/html")) == 1
    with pytest.raises(ContractError, match=f"sends more than {len(body):,} bytes"):
        listed(body + b" ")
    with pytest.raises(ContractError, match=f"HTML has more than {len(html):,} bytes"):
        listed(html + b" ", "text/html")


def test_a_page_may_be_compressed_and_is_counted_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that inflates beyond the bound is refused as any other."""
    body = page(file())
    compressed = {"Content-Encoding": "gzip"}
    assert len(listed(gzip.compress(body), **compressed)) == 1

    monkeypatch.setattr(index, "LARGEST_PAGE", 1 << 16)
    with pytest.raises(ContractError, match="sends more than 65,536 bytes"):
        listed(gzip.compress(body + b" " * (1 << 20)), **compressed)
    with pytest.raises(ContractError, match="ContentDecodingError"):
        listed(gzip.compress(body)[:10] + b"\xff" * 40, **compressed)


def test_a_time_without_a_zone_is_compared_as_utc() -> None:
    """The standard wants UTC; a moment without a zone cannot be compared with now."""
    (found,) = listed(page(file() | {"upload-time": "2026-01-01T00:00:00"}))

    assert found.uploaded is not None
    assert found.uploaded.utcoffset() is not None
