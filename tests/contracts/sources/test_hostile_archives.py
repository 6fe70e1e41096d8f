"""Wheels and tarballs that are damaged, or claim more than they can have, are one clear error."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.contracts.release_server import serve, wheel_bytes
from value_steer.contracts.checker import check
from value_steer.contracts.modules import FileUnreadableError, parse
from value_steer.contracts.sources import archive, bounded, index, wheel
from value_steer.contracts.sources.archive import archive_tree
from value_steer.contracts.sources.bounded import LARGEST_SOURCE
from value_steer.contracts.sources.pip_config import IndexSettings
from value_steer.contracts.sources.tree import directory_tree, stated_version
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.contracts.surface import Mode
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _fresh_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    index.shared_session.cache_clear()
    yield
    index.shared_session.cache_clear()


def read(content: bytes, cache: Path, path: str = "vllm/a.py") -> str | None:
    """A file of a wheel, served with ranges."""
    with serve(content) as server:
        return WheelTree(server.wheel(), IndexSettings(), cache).read(path)


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of some files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for path, content in files.items():
            target.writestr(path, content)
    return buffer.getvalue()


def test_a_file_inflates_up_to_the_bound(tmp_path: Path) -> None:
    """The largest source is read; one byte more is refused before it is inflated."""
    most = zipped({"vllm/a.py": b"#" * LARGEST_SOURCE})
    more = zipped({"vllm/a.py": b"#" * (LARGEST_SOURCE + 1)})

    assert read(most, tmp_path) == "#" * LARGEST_SOURCE
    with pytest.raises(ContractError, match=r"a\.py cannot be read: it claims 1,048,577 bytes"):
        read(more, tmp_path)


def test_a_file_that_lies_about_its_size_is_not_inflated(tmp_path: Path) -> None:
    """What is inflated is bounded by what is claimed, so a small claim gives a damaged file."""
    content = zipped({"vllm/a.py": b"#" * (8 * LARGEST_SOURCE)})
    small = (100).to_bytes(4, "little")
    lying = content.replace((8 * LARGEST_SOURCE).to_bytes(4, "little"), small)
    assert lying != content

    with pytest.raises(ContractError, match="Bad CRC-32"):
        read(lying, tmp_path)


def test_all_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files below the bound of one do not add up to more than the bound of all."""
    monkeypatch.setattr(wheel, "MOST_SOURCES", 3000)
    content = wheel_bytes({f"vllm/{n}.py": "#" * 1000 for n in range(4)})
    with serve(content) as server:
        tree = WheelTree(server.wheel(), IndexSettings(), tmp_path)
        assert [tree.read(f"vllm/{n}.py") for n in range(3)] == ["#" * 1000] * 3
        with pytest.raises(ContractError, match=r"3\.py cannot be read: it claims 1,000 bytes"):
            tree.read("vllm/3.py")


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many files as are allowed are read, one more is refused."""
    monkeypatch.setattr(wheel, "MOST_MEMBERS", 2)

    assert read(wheel_bytes({"vllm/a.py": "a", "b": ""}), tmp_path) == "a"
    with pytest.raises(ContractError, match="more than 2 files"):
        read(wheel_bytes({"vllm/a.py": "a", "b": "", "c": ""}), tmp_path)


def test_the_table_of_contents_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its length is claimed too; it is refused before it is fetched or read into memory."""
    content = wheel_bytes({"vllm/a.py": "a"})
    monkeypatch.setattr(wheel, "_LARGEST_CONTENTS", len(content) * 3)
    assert read(content, tmp_path / "1") == "a"

    monkeypatch.setattr(wheel, "_LARGEST_CONTENTS", 60)
    with pytest.raises(ContractError, match="more bytes than such a file can have"):
        read(content, tmp_path / "2")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_the_compression_of_wheels_is_inflated(compression: int, tmp_path: Path) -> None:
    """The other methods inflate a little to gigabytes before anybody can count."""
    content = zipped({"vllm/a.py": b"a"}, compression)

    with pytest.raises(ContractError, match=f"method {compression}, is none that wheels have"):
        read(content, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_wheel_is_our_error(seed: int, tmp_path: Path) -> None:
    """Flipped, cut and inserted bytes anywhere give the text or a ContractError, nothing else."""
    chance = random.Random(seed)  # noqa: S311
    text = "".join(chr(chance.randrange(32, 1000)) for _ in range(300))
    good = wheel_bytes({"vllm/a.py": text})
    refused = 0
    for number in range(150):
        content = damaged(good, chance)
        try:
            read(content, tmp_path / str(number))
        except ContractError:
            refused += 1
    assert refused > 50


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with some bytes changed, cut off or put in."""
    body = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body))
        kind = chance.randrange(4)
        if kind == 0:
            body[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            body[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, chance.randbytes(4)])
        elif kind == 2:
            del body[at : at + chance.randint(1, 20)]
        else:
            body[at:at] = chance.randbytes(chance.randint(1, 20))
        if not body:
            break
    return bytes(body)


@pytest.mark.parametrize(
    "kept", [b"[" * 100_000, b'{"vllm/a.py": 3}', b"[]", b"\xff", b'{"vllm/a.py": "x', b"null"]
)
def test_a_damaged_cache_of_texts_is_made_again(kept: bytes, tmp_path: Path) -> None:
    """Whatever an earlier run left costs a fetch and nothing else."""
    with serve(wheel_bytes({"vllm/a.py": "a"})) as server:
        entry = server.wheel()
        (tmp_path / entry.sha256).mkdir()
        (tmp_path / entry.sha256 / "sources.json").write_bytes(kept)
        tree = WheelTree(entry, IndexSettings(), tmp_path)
        assert tree.read("vllm/a.py") == "a"
        tree.save()
        assert json.loads((tmp_path / entry.sha256 / "sources.json").read_bytes()) == {
            "vllm/a.py": "a"
        }


def test_a_damaged_download_is_downloaded_again(tmp_path: Path) -> None:
    """A wheel in the cache is used if it still has its hash."""
    with serve(wheel_bytes({"vllm/a.py": "a"}), ranges=False) as server:
        entry = server.wheel()
        (tmp_path / entry.sha256).mkdir()
        (tmp_path / entry.sha256 / entry.filename).write_bytes(server.content[:-5])
        for _ in range(2):
            assert WheelTree(entry, IndexSettings(), tmp_path).read("vllm/a.py") == "a"
    assert len(server.asked) == 3  # twice for a part, once for the whole


def packed(files: dict[str, bytes], mode: str = "w") -> bytes:
    """A tarball of some files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as target:  # type: ignore[call-overload]
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


SOURCE = {"vllm-main/vllm/__init__.py": b"", "vllm-main/vllm/a.py": b"a = 1\n"}


def tree_of(content: bytes, folder: Path) -> archive.ArchiveTree:
    """What is read from a tarball."""
    path = folder / "vllm.tar.gz"
    path.write_bytes(content)
    return archive_tree(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tarball_is_read_however_it_is_compressed(mode: str, tmp_path: Path) -> None:
    """What it is compressed with is told by its first bytes, not by its name."""
    assert tree_of(packed(SOURCE, mode), tmp_path).read("vllm/a.py") == "a = 1\n"


def test_a_tarball_is_inflated_up_to_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number of files, bytes kept and bytes inflated: at the bound read, beyond it refused."""
    content = packed(SOURCE, "w:gz")
    whole = len(packed(SOURCE))
    for name, enough in (("MOST_MEMBERS", 2), ("MOST_SOURCES", 6), ("LARGEST_ARCHIVE", whole)):
        with monkeypatch.context() as patch:
            patch.setattr(archive, name, enough)
            assert len(tree_of(content, tmp_path).files) == 2
    more = packed({**SOURCE, "vllm-main/vllm/b.py": b"b", "vllm-main/c": b""}, "w:gz")
    for name, enough in (("MOST_MEMBERS", 3), ("MOST_SOURCES", 6), ("LARGEST_ARCHIVE", 1024)):
        with monkeypatch.context() as patch:
            patch.setattr(archive, name, enough)
            with pytest.raises(ContractError, match="cannot be read as a tarball"):
                tree_of(more, tmp_path)


def test_a_large_file_beside_the_source_is_left_out(tmp_path: Path) -> None:
    """A file beyond the bound of one source is not kept."""
    files = {**SOURCE, "vllm-main/vllm/b.py": b"#" * (LARGEST_SOURCE + 1)}
    files["vllm-main/vllm/c.py"] = b"#" * LARGEST_SOURCE

    assert sorted(tree_of(packed(files, "w:gz"), tmp_path).files) == [
        "vllm/__init__.py",
        "vllm/a.py",
        "vllm/c.py",
    ]


def claim(kind: bytes, size: int) -> bytes:
    """A header that claims content of some size."""
    member = tarfile.TarInfo("x")
    member.type = kind
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
def test_a_header_that_claims_gigabytes_is_refused(kind: bytes, tmp_path: Path) -> None:
    """The long headers are read into memory, as long as they claim to be."""
    content = gzip.compress(claim(kind, 1 << 33) + b"\0" * 10_000)

    with pytest.raises(ContractError, match="cannot be read as a tarball"):
        tree_of(content, tmp_path)


def test_headers_of_headers_without_end_are_refused(tmp_path: Path) -> None:
    """Each long name announces the next header; tarfile goes one call deeper for each."""
    one = claim(tarfile.GNUTYPE_LONGNAME, 5) + b"name\0".ljust(512, b"\0")

    with pytest.raises(ContractError, match="cannot be read as a tarball"):
        tree_of(gzip.compress(one * 5000), tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_tarball_is_our_error(pack: object, tmp_path: Path) -> None:
    """Bytes changed inside or outside of the compression give a tree or a ContractError."""
    chance = random.Random(1)  # noqa: S311
    assert callable(pack)
    good = packed(SOURCE)
    refused = 0
    for _ in range(150):
        content = (
            damaged(pack(good), chance) if chance.random() < 0.5 else pack(damaged(good, chance))
        )
        try:
            tree_of(content, tmp_path)
        except ContractError:
            refused += 1
    assert refused > 10


DEEP = {
    "minus": "x = " + "-" * 100_000 + "1",
    "sums": "x = " + "1 + " * 100_000 + "1",
    "attributes": "x = a" + ".a" * 100_000,
    "elifs": "if 1:\n x\n" + "elif 1:\n x\n" * 20_000,
    "parentheses": "(" * 100_000,
    "nul": "x = 1\0",
    "digits": "x = " + "9" * 5000,
}


# The parser of Python 3.10 takes what leans to the left at any depth.
LEANING: set[str] = {"sums", "attributes"} if sys.version_info < (3, 11) else set()


@pytest.mark.parametrize("name", sorted(DEEP.keys() - LEANING))
def test_source_that_cannot_be_parsed_is_our_error(name: str) -> None:
    """Depth is a RecursionError or a MemoryError of Python's parser, and neither is the user's."""
    with pytest.raises(FileUnreadableError, match=r"^vllm/a\.py cannot be parsed: \w"):
        parse("vllm/a.py", DEEP[name])
    with pytest.raises(ContractError, match=r"_version\.py cannot be parsed: \w"):
        stated_version(DEEP[name])


def test_a_source_file_is_parsed_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in a folder has the same bound as one in a wheel."""
    monkeypatch.setattr("value_steer.contracts.modules.LARGEST_SOURCE", 5)

    assert parse("vllm/a.py", "a = 1").names
    with pytest.raises(FileUnreadableError, match="more than 5 characters"):
        parse("vllm/a.py", "a = 11")


@pytest.mark.parametrize("depth", [200, 400, 700, 900])
def test_a_deep_file_is_a_finding(depth: int, tmp_path: Path) -> None:
    """What can be parsed may still be deeper than the checks can go; no finding raises."""
    (tmp_path / "vllm" / "v1" / "core" / "sched").mkdir(parents=True)
    (tmp_path / "vllm" / "__init__.py").touch()
    calls = "x" + ".a()" * (depth // 2)
    text = (
        f"class Scheduler({calls}):\n def __init__(self):\n  {calls}\n  self.requests = {calls}\n"
    )
    (tmp_path / "vllm" / "v1" / "core" / "sched" / "scheduler.py").write_text(text)

    assert not check(directory_tree(tmp_path), Mode).ok


def test_no_more_is_read_than_is_allowed() -> None:
    """A claim beyond the bound is refused before it is read."""
    file = bounded.BoundedFile(io.BytesIO(b"12345"), 5)
    assert (file.read(2), file.read(3), file.read()) == (b"12", b"345", b"")
    file = bounded.BoundedFile(io.BytesIO(b"12345"), 4)
    for size in (5, 10**20, -1):
        with pytest.raises(ContractError, match="more bytes"):
            file.read(size)
