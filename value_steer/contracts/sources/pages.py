"""The files of a project at each place that pip looks for packages."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pypi_simple
from packaging.utils import canonicalize_name
from pypi_simple import DistributionPackage, ProjectPage

from value_steer.contracts.sources.answers import (
    NotThereError,
    Question,
    ask,
    shown_address,
    within,
)
from value_steer.contracts.sources.filenames import is_of
from value_steer.contracts.sources.pip_config import local_path, redacted
from value_steer.errors import ContractError
from value_steer.records.codec import parse_json
from value_steer.records.fields import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from value_steer.contracts.sources.pip_config import IndexSettings
    from value_steer.contracts.sources.session import Session

LARGEST_PAGE = 32 << 20
"""Bytes of a project's page in JSON; the largest known has 6 MiB."""

LARGEST_HTML = 4 << 20
"""Bytes of one in HTML, which takes two hundred times as many to parse."""

_PAGE_SECONDS = 120.0
_PARSING_SECONDS = 60.0
_BLOCK = 1 << 20
_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = "application/vnd.pypi.simple.v1+html"
_ACCEPT = f"{_JSON}, {_HTML};q=0.2, text/html;q=0.1"


def places(project: str, settings: IndexSettings, session: Session) -> Iterator[Place]:
    """Every place, in the order of pip."""
    for place in settings.find_links:
        yield Place(project, place, session, is_index=False)
    if not settings.no_index:
        for address in (settings.address or pypi_simple.PYPI_SIMPLE_ENDPOINT, *settings.more):
            yield Place(project, address, session, is_index=True)


class Place:
    """One place.

    Args:
        project: Whose files.
        address: Of an index, a page of links, or a local folder or file.
        session: Asks.
        is_index: It has a page for each project; else it lists files itself.
    """

    def __init__(self, project: str, address: str, session: Session, *, is_index: bool) -> None:
        self._project = project
        self._address = address
        self._session = session
        self._is_index = is_index

    def files(self) -> list[DistributionPackage]:
        """The files that it has of the project; none, if it does not know it.

        Raises:
            ContractError: It does not answer, or not with a page.
        """
        try:
            local = local_path(self._address)
            found = self._remote() if local is None else self._local(local)
            return [one for one in found if is_of(one.filename, self._project)]
        except OSError as error:  # of the disk, or of certificates that are not there
            msg = f"{shown_address(self._address)} cannot be read ({redacted(str(error))})"
            raise ContractError(msg) from None
        # A page is parsed by three libraries; RecursionError is what depth makes of them.
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            RecursionError,
            pypi_simple.UnsupportedRepoVersionError,
        ) as error:
            msg = (
                f"{shown_address(self._address)} is no page of a package index "
                f"({type(error).__name__}: {shown(redacted(str(error)))}); check pip's index-url"
            )
            raise ContractError(msg) from None  # its text may have the address as it is

    def _remote(self) -> list[DistributionPackage]:
        address = self._address
        if self._is_index:
            address = f"{address.rstrip('/')}/{canonicalize_name(self._project)}/"
        question = Question(address, LARGEST_PAGE, _PAGE_SECONDS, encodings="gzip", accept=_ACCEPT)
        content = bytearray()
        try:
            answer = ask(self._session, question, content.extend)
        except NotThereError:
            if self._is_index:
                return []
            raise
        kind = answer.headers.get("Content-Type", "text/html").partition(";")[0].strip().lower()
        packages = self._packages(kind, bytes(content), answer.url)
        # A page of somebody else does not say which files of this machine are read.
        return [one for one in packages if urlsplit(one.url).scheme in {"http", "https"}]

    def _packages(self, kind: str, content: bytes, address: str) -> list[DistributionPackage]:
        # Python's own parser of HTML takes hours for a megabyte that is made for it.
        slow = (
            f"{shown_address(address)}: its page takes more than {_PARSING_SECONDS:.0f} s to parse"
        )
        return within(
            _PARSING_SECONDS, lambda: _page(self._project, kind, content, address).packages, slow
        )

    def _local(self, path: Path) -> list[DistributionPackage]:
        if self._is_index:
            path = path / canonicalize_name(self._project) / "index.html"
            if not path.exists():
                return []
        if path.is_dir():
            own = [one for one in sorted(path.iterdir()) if is_of(one.name, self._project)]
            # Hashing takes a second for each GB; what is no regular file may have no end.
            return [_file(one) for one in own if one.is_file()]
        if not path.is_file():
            msg = "it is neither a file nor a folder"
            raise OSError(msg)
        with path.open("rb") as file:
            content = file.read(LARGEST_HTML + 1)
        page = self._packages("text/html", content, path.as_uri())
        return [self._hashed(one) for one in page]

    def _hashed(self, package: DistributionPackage) -> DistributionPackage:
        """A package of a local page; such pages often state no hashes, and call files anything."""
        path = local_path(package.url)
        if package.digests.get("sha256") or path is None or not is_of(path.name, self._project):
            return package
        return _file(path) if path.is_file() else package


def _page(project: str, kind: str, content: bytes, address: str) -> ProjectPage:
    if kind == _JSON:
        return ProjectPage.from_json_data(parse_json(content), address)
    if kind not in {_HTML, "text/html"}:
        msg = f"its content is {kind[:80]}"
        raise ValueError(msg)
    if len(content) > LARGEST_HTML:
        msg = f"its HTML has more than {LARGEST_HTML:,} bytes"
        raise ValueError(msg)
    return ProjectPage.from_html(project, content, address)


def _file(path: Path) -> DistributionPackage:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    body = {
        "filename": path.name,
        "url": path.as_uri(),
        "hashes": {"sha256": digest.hexdigest()},
    }
    return DistributionPackage.from_json_data(body)
