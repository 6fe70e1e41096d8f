"""The source files inside a wheel on the package index, read in place and kept by its hash."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import weakref
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from value_steer.contracts.sources.answers import Question, ask
from value_steer.contracts.sources.bounded import (
    LARGEST_SOURCE,
    MOST_MEMBERS,
    MOST_SOURCES,
    BoundedFile,
)
from value_steer.contracts.sources.index import shared_session
from value_steer.contracts.sources.pip_config import local_path, redacted
from value_steer.contracts.sources.ranges import LARGEST_WHEEL, RangeFile, RangesUnsupportedError
from value_steer.errors import ContractError
from value_steer.records.codec import parse_json
from value_steer.records.files import replacing, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests

    from value_steer.contracts.sources.index import IndexWheel
    from value_steer.contracts.sources.pip_config import IndexSettings

_LOCAL_HEADER = 30
# Extra fields of a local header are not in the table of contents.
_SLACK = 96
_TEXTS = "sources.json"
_DOWNLOAD_SECONDS = 3600.0
# The table of contents has 46 bytes and a path for each file.
_LARGEST_CONTENTS = 128 * MOST_MEMBERS
_LARGEST_CACHE = 8 * MOST_SOURCES
# What zipfile and zlib are known to raise on damaged archives and members.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def cache_folder() -> Path:
    """Where files of wheels are kept: ``VALUE_STEER_CACHE``, or a folder of the user's cache."""
    configured = os.environ.get("VALUE_STEER_CACHE")
    if configured:
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "value-steer"


class WheelTree:
    """The files of one wheel; the wheel is opened only for what the cache does not hold.

    Args:
        wheel: The wheel.
        settings: How to ask for it.
        cache: Folder that holds one folder per wheel hash.
    """

    def __init__(self, wheel: IndexWheel, settings: IndexSettings, cache: Path) -> None:
        self._wheel = wheel
        self._settings = settings
        self._folder = cache / wheel.sha256
        self._texts = _kept(self._folder / _TEXTS)
        self._fetched = False
        self._archive: zipfile.ZipFile | None = None
        self._ranges: RangeFile | None = None
        self._left = MOST_SOURCES

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that was ever asked for."""
        return tuple(self._texts)

    def version(self) -> str:
        """The version in the wheel's file name."""
        return str(self._wheel.version)

    def read(self, path: str) -> str | None:
        """The text of ``path``, or ``None`` if the wheel has no such file.

        Raises:
            ContractError: The wheel cannot be read.
        """
        if path not in self._texts:
            try:
                archive = self._open()
                info = archive.NameToInfo.get(path)
                text = None if info is None else self._inflated(archive, info).decode("utf-8")
            except ContractError as err:
                msg = f"{self._wheel.filename}: {path} cannot be read: {err}"
                raise ContractError(msg) from err
            except _DAMAGE as err:
                why = redacted(repr(err))
                msg = f"{self._wheel.filename}: {path} cannot be read ({why}); try again"
                raise ContractError(msg) from err
            self._texts[path] = text
            self._fetched = True
        return self._texts[path]

    def prefetch(self, paths: Iterable[str]) -> None:
        """Fetch several files at once, so that reading them one by one does not wait.

        Raises:
            ContractError: The wheel cannot be read.
        """
        missing = [path for path in paths if path not in self._texts]
        if not missing:
            return
        try:
            archive = self._open()
            if self._ranges is not None:
                found = (archive.NameToInfo.get(path) for path in missing)
                # A file that claims more will be refused when it is read.
                wanted = (info for info in found if info and info.compress_size <= LARGEST_SOURCE)
                self._ranges.prefetch(map(_span, wanted))
        except ContractError as err:
            msg = f"{self._wheel.filename} cannot be read: {err}"
            raise ContractError(msg) from err
        except _DAMAGE as err:
            msg = f"{self._wheel.filename} cannot be read ({redacted(repr(err))}); try again"
            raise ContractError(msg) from err

    def save(self) -> None:
        """Keep what was read, for the next time."""
        if self._fetched:
            write_atomically(self._folder / _TEXTS, json.dumps(self._texts).encode())
            self._fetched = False

    def metadata(self) -> str:
        """The wheel's METADATA.

        Raises:
            ContractError: It has none, or cannot be read.
        """
        name, version = self._wheel.filename.split("-")[:2]
        text = self.read(f"{name}-{version}.dist-info/METADATA")
        if text is None:
            msg = f"{self._wheel.filename} has no METADATA; it is no wheel"
            raise ContractError(msg)
        return text

    def _inflated(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        """The content of a file of the wheel, of which no more is inflated than is allowed."""
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            msg = f"its compression, method {info.compress_type}, is none that wheels have"
            raise ContractError(msg)
        most = min(LARGEST_SOURCE, self._left)
        if max(info.file_size, info.compress_size) > most:
            msg = f"it claims {info.file_size:,} bytes, and {most:,} are the most that are read"
            raise ContractError(msg)
        self._left -= info.file_size
        with archive.open(info) as member:
            return member.read()  # zipfile stops at the size that it claims

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None:
            file = self._file()
            weakref.finalize(self, file.close)  # zipfile closes only what it opened itself
            bounded = BoundedFile(file, _LARGEST_CONTENTS)
            archive = zipfile.ZipFile(bounded)
            if len(archive.NameToInfo) > MOST_MEMBERS:
                msg = f"it has more than {MOST_MEMBERS:,} files"
                raise ContractError(msg)
            bounded.left = 2 * MOST_SOURCES  # what does not shrink is a little longer in it
            self._archive = archive
        return self._archive

    def _file(self) -> BinaryIO | RangeFile:
        local = local_path(self._wheel.url)
        if local is not None:
            return self._local(local)
        session = shared_session(self._settings)
        try:
            self._ranges = RangeFile(session, self._wheel.url)
        except RangesUnsupportedError:
            return self._download(session).open("rb")
        return self._ranges

    def _local(self, path: Path) -> BinaryIO:
        """A wheel on this machine, which has to be the one that was listed."""
        if not path.is_file() or path.stat().st_size > LARGEST_WHEEL:
            msg = f"{path} is no file of {LARGEST_WHEEL:,} bytes at most; check pip's find-links"
            raise ContractError(msg)
        if _digest(path) != self._wheel.sha256:
            raise self._another()
        return path.open("rb")

    def _another(self) -> ContractError:
        return ContractError(f"{self._wheel.filename} does not have the hash that the index states")

    def _download(self, session: requests.Session) -> Path:
        """The whole wheel, in the cache, with the hash that the index states."""
        target = self._folder / self._wheel.filename
        if target.is_file() and _digest(target) == self._wheel.sha256:
            return target
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            ask(session, Question(self._wheel.url, LARGEST_WHEEL, _DOWNLOAD_SECONDS), file.write)
            file.flush()
            if _digest(Path(file.name)) != self._wheel.sha256:
                raise self._another()
        return target


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _kept(path: Path) -> dict[str, str | None]:
    """The cache of an earlier run; a damaged one is fetched again."""
    try:
        if path.stat().st_size > _LARGEST_CACHE:
            return {}
        body = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(body, dict):
        return {}
    return {key: text for key, text in body.items() if text is None or isinstance(text, str)}


def _span(info: zipfile.ZipInfo) -> tuple[int, int]:
    start = info.header_offset
    name = len(info.filename.encode())
    return start, start + _LOCAL_HEADER + name + _SLACK + info.compress_size
