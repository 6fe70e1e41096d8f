"""The source files inside a wheel on the package index, read in place and kept by its hash."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from value_steer.contracts.sources.index import shared_session
from value_steer.contracts.sources.pip_config import redacted
from value_steer.contracts.sources.ranges import RangeFile, RangesUnsupportedError
from value_steer.errors import ContractError
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
                there = path in archive.NameToInfo
                self._texts[path] = archive.read(path).decode("utf-8") if there else None
            except (OSError, ValueError, zipfile.BadZipFile) as err:
                why = redacted(repr(err))
                msg = f"{self._wheel.filename}: {path} cannot be read ({why}); try again"
                raise ContractError(msg) from err
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
                there = [archive.NameToInfo[path] for path in missing if path in archive.NameToInfo]
                self._ranges.prefetch(map(_span, there))
        except (OSError, zipfile.BadZipFile) as err:
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

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None:
            session = shared_session(self._settings)
            if self._wheel.url.startswith("file:"):
                self._archive = zipfile.ZipFile(unquote(urlsplit(self._wheel.url).path))
                return self._archive
            try:
                self._ranges = RangeFile(session, self._wheel.url)
                self._archive = zipfile.ZipFile(self._ranges)
            except RangesUnsupportedError:
                self._archive = zipfile.ZipFile(self._download(session))
        return self._archive

    def _download(self, session: requests.Session) -> Path:
        """The whole wheel, in the cache, with the hash that the index states."""
        target = self._folder / self._wheel.filename
        if target.is_file():
            return target
        self._folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with replacing(target) as file:
            with session.get(self._wheel.url, stream=True) as answer:
                answer.raise_for_status()
                for chunk in answer.iter_content(1 << 20):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != self._wheel.sha256:
                msg = f"{self._wheel.filename} does not have the hash that the index states"
                raise ContractError(msg)
        return target


def _kept(path: Path) -> dict[str, str | None]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a cache: what is unreadable is fetched again
        return {}
    return body if isinstance(body, dict) else {}


def _span(info: zipfile.ZipInfo) -> tuple[int, int]:
    start = info.header_offset
    name = len(info.filename.encode())
    return start, start + _LOCAL_HEADER + name + _SLACK + info.compress_size
