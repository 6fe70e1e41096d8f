"""A page of a package index that is none, or too much of one, costs one clear error."""

from __future__ import annotations

import gzip
import json
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from tests.contracts.hostile_server import CONTENT, NAME, ONCE, SIZE, Reply, answering
from value_steer.contracts.sources import pages, wheel
from value_steer.contracts.sources.index import IndexWheel, project_wheels
from value_steer.contracts.sources.pip_config import IndexSettings
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("fresh_session")
JSON = "application/vnd.pypi.simple.v1+json"


def file(sha256: object = "0" * 64, name: object = NAME, **more: object) -> dict[str, object]:
    """One file of an index page."""
    return {"filename": name, "url": "x", "hashes": {"sha256": sha256}, **more}


def page(*files: object) -> bytes:
    """An index page in JSON."""
    meta = {"api-version": "1.1"}
    return json.dumps({"meta": meta, "name": "vllm", "versions": [], "files": files}).encode()


def listed(
    body: bytes,
    kind: str = JSON,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    links: bool = False,
) -> tuple[IndexWheel, ...]:
    """The wheels of a page that is served, by an index or as a page of links."""
    reply = Reply([body], headers={"Content-Type": kind, **headers})
    with answering(lambda *_: reply) as address:
        settings = IndexSettings(f"{address}simple/", retries=0)
        if links:
            settings = IndexSettings(no_index=True, find_links=(f"{address}links",), retries=0)
        return project_wheels("vllm", settings)


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
    monkeypatch.setattr(pages, "_PARSING_SECONDS", 0.3)

    with pytest.raises(ContractError, match="takes more than 0 s to parse"):
        listed(b"<a" * 60_000, "text/html")


@pytest.mark.parametrize("links", [False, True])
def test_a_page_is_read_up_to_its_bounds(
    links: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The largest page is read, one byte more is not; for HTML there is a smaller bound."""
    body, html = page(file()), f'<a href="x#sha256={"0" * 64}">{NAME}</a>'.encode()
    monkeypatch.setattr(pages, "LARGEST_PAGE", len(body))
    monkeypatch.setattr(pages, "LARGEST_HTML", len(html))

    assert len(listed(body, links=links)) == 1
    assert len(listed(html, "text/html", links=links)) == 1
    with pytest.raises(ContractError, match=f"sends more than {len(body):,} bytes"):
        listed(body + b" ", links=links)
    with pytest.raises(ContractError, match=f"HTML has more than {len(html):,} bytes"):
        listed(html + b" ", "text/html", links=links)


def test_a_page_may_be_compressed_and_is_counted_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that inflates beyond the bound is refused as any other."""
    body = page(file())
    compressed = {"Content-Encoding": "gzip"}
    assert len(listed(gzip.compress(body), headers=compressed)) == 1

    monkeypatch.setattr(pages, "LARGEST_PAGE", 1 << 16)
    with pytest.raises(ContractError, match="sends more than 65,536 bytes"):
        listed(gzip.compress(body + b" " * (1 << 20)), headers=compressed)
    with pytest.raises(ContractError, match="ContentDecodingError"):
        listed(gzip.compress(body)[:10] + b"\xff" * 40, headers=compressed)


def test_a_time_without_a_zone_is_compared_as_utc() -> None:
    """The standard wants UTC; a moment without a zone cannot be compared with now."""
    (found,) = listed(page(file() | {"upload-time": "2026-01-01T00:00:00"}))

    assert found.uploaded is not None
    assert found.uploaded.utcoffset() is not None


@pytest.mark.parametrize("links", [False, True])
def test_a_page_of_a_server_names_no_file_of_this_machine(
    links: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    """Who serves a page does not choose what is opened here."""
    here = tmp_path / NAME
    here.write_bytes(CONTENT)
    body = page(file(url=here.as_uri()), file(name=NAME.replace("1.2.3", "1.2.4")))

    assert [str(w.version) for w in listed(body, links=links)] == ["1.2.4"]


def linked(place: Path) -> tuple[IndexWheel, ...]:
    """The wheels of a folder or a page on this machine."""
    return project_wheels("vllm", IndexSettings(no_index=True, find_links=(str(place),)))


def test_a_page_of_this_machine_has_the_bound_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest is read, one byte more is not."""
    (tmp_path / NAME).write_bytes(CONTENT)
    text = f'<a href="{NAME}">it</a>'
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    monkeypatch.setattr(pages, "LARGEST_HTML", len(text))
    assert len(linked(tmp_path / "page.html")) == 1

    monkeypatch.setattr(pages, "LARGEST_HTML", len(text) - 1)
    with pytest.raises(ContractError, match=r"page\.html is no page .*its HTML has more than"):
        linked(tmp_path / "page.html")


def test_a_folder_is_read_for_its_files(tmp_path: Path) -> None:
    """A pipe that is named as a wheel would be read without end; alone it is told."""
    os.mkfifo(tmp_path / NAME.replace("1.2.3", "1.2.2"))
    (tmp_path / NAME).write_bytes(CONTENT)

    assert [str(w.version) for w in linked(tmp_path)] == ["1.2.3"]
    with pytest.raises(ContractError, match="neither a file nor a folder"):
        linked(tmp_path / NAME.replace("1.2.3", "1.2.2"))


def test_a_wheel_of_this_machine_is_bounded_as_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its size, in that of its files, and in being the one that was listed."""
    here = tmp_path / NAME
    here.write_bytes(CONTENT)
    (found,) = linked(tmp_path)

    def text() -> str | None:
        return WheelTree(found, ONCE, tmp_path / "cache").read("vllm/a.py")

    monkeypatch.setattr(wheel, "LARGEST_SOURCE", 8)
    monkeypatch.setattr(wheel, "LARGEST_WHEEL", SIZE)
    assert text() == "a = 1\n"
    monkeypatch.setattr(wheel, "LARGEST_SOURCE", 7)
    with pytest.raises(ContractError, match="7 are the most that are read"):
        text()
    monkeypatch.setattr(wheel, "LARGEST_WHEEL", SIZE - 1)
    with pytest.raises(ContractError, match="at most; check pip's find-links"):
        text()
    monkeypatch.setattr(wheel, "LARGEST_WHEEL", SIZE)
    here.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ContractError, match="does not have the hash"):
        text()
