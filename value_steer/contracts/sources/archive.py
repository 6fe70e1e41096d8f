"""The source files inside a tarball, such as a snapshot of vLLM's main branch."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from value_steer.contracts.sources.bounded import (
    LARGEST_SOURCE,
    MOST_MEMBERS,
    MOST_SOURCES,
    BoundedFile,
)
from value_steer.contracts.sources.tree import PACKAGE, stated_version
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What tarfile and the three modules under it are known to raise on damaged archives.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    RecursionError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
)

LARGEST_ARCHIVE = 1 << 30
"""Bytes of a tarball when it is inflated; a checkout of vLLM has 150 MiB."""

_VERSION_FILE = f"{PACKAGE}/_version.py"


@dataclass(frozen=True, slots=True)
class ArchiveTree:
    """The Python files of a tarball, in memory."""

    files: Mapping[str, bytes]

    def read(self, path: str) -> str | None:
        """The text of ``path``, or ``None`` if the tarball has no such file."""
        content = self.files.get(path)
        try:
            return None if content is None else content.decode("utf-8")
        except UnicodeDecodeError as err:
            msg = f"{path} in the tarball is not UTF-8: {err}"
            raise ContractError(msg) from err

    def version(self) -> str | None:
        """The version in ``vllm/_version.py``; a snapshot of a branch has none."""
        text = self.read(_VERSION_FILE)
        return None if text is None else stated_version(text)


def archive_tree(path: Path) -> ArchiveTree:
    """The tree in a tarball, whatever the folder that it is packed in.

    Raises:
        ContractError: The file is no tarball, or holds no vLLM.
    """
    try:
        with _opened(path) as file:
            files = _sources(file)
    except (ContractError, *_DAMAGE) as err:
        msg = f"{path} cannot be read as a tarball: {err}"
        raise ContractError(msg) from err
    if f"{PACKAGE}/__init__.py" not in files:
        msg = (
            f"no vLLM in {path}: it must hold {PACKAGE}/__init__.py, at the top or one folder down"
        )
        raise ContractError(msg)
    return ArchiveTree(files)


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as start:
        magic = start.read(2)
    if magic == b"\x1f\x8b":
        return cast("BinaryIO", gzip.open(path))
    if magic == b"BZ":
        return cast("BinaryIO", bz2.open(path))
    return cast("BinaryIO", lzma.open(path)) if magic == b"\xfd7" else path.open("rb")


def _sources(file: BinaryIO) -> dict[str, bytes]:
    """The Python files of the package.

    Raises:
        ContractError: The archive claims more than a checkout of vLLM can have.
    """
    files: dict[str, bytes] = {}
    kept = 0
    # Through this, since a header can claim any length and tarfile reads that into memory.
    bounded = BoundedFile(file, LARGEST_ARCHIVE)
    with tarfile.open(fileobj=cast("BinaryIO", bounded), mode="r:") as archive:
        for number, member in enumerate(archive, start=1):
            end = member.offset_data + member.size
            if number > MOST_MEMBERS or end > LARGEST_ARCHIVE or kept > MOST_SOURCES:
                msg = (
                    f"more than {MOST_MEMBERS:,} files, {LARGEST_ARCHIVE:,} bytes, or "
                    f"{MOST_SOURCES:,} bytes of vLLM's source; a checkout is far smaller"
                )
                raise ContractError(msg)
            name = _inside(member.name)
            if name and member.isfile() and member.size <= LARGEST_SOURCE:
                stream = archive.extractfile(member)
                files[name] = stream.read() if stream else b""
                kept += len(files[name])
    return files


def _inside(name: str) -> str | None:
    """``vllm/...`` for a Python file of the package, ``None`` for any other."""
    parts = [part for part in name.split("/") if part != "."]
    at = next((i for i in (0, 1) if parts[i : i + 1] == [PACKAGE]), None)
    return "/".join(parts[at:]) if at is not None and name.endswith(".py") else None
