"""The files of a project at each place that pip looks for packages."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pypi_simple
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from pypi_simple import DistributionPackage, ProjectPage

from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.contracts.sources.pip_config import IndexSettings
    from value_steer.contracts.sources.session import Session

_BLOCK = 1 << 20


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

    def __str__(self) -> str:
        """What to call it in a message: the host, or the path."""
        local = local_path(self._address)
        return str(local or urlsplit(self._address).netloc.rpartition("@")[2])

    def files(self) -> list[DistributionPackage]:
        """What it has of the project; nothing, if it does not know it.

        Raises:
            ContractError: It does not answer, or not with a page.
        """
        try:
            local = local_path(self._address)
            found = self._remote() if local is None else self._local(local)
        except (
            OSError,  # of the disk, and whatever requests raises
            ValueError,  # no JSON, or a page that is none
            pypi_simple.UnsupportedContentTypeError,
            pypi_simple.UnsupportedRepoVersionError,
        ) as err:
            msg = f"{self}: {type(err).__name__}"
            raise ContractError(msg) from err
        return [one for one in found if _is_of(one.filename, self._project)]

    def _remote(self) -> list[DistributionPackage]:
        if self._is_index:
            client = pypi_simple.PyPISimple(self._address, session=self._session)
            try:
                return client.get_project_page(self._project).packages
            except pypi_simple.NoSuchProjectError:
                return []
        answer = self._session.get(self._address)
        answer.raise_for_status()
        return ProjectPage.from_response(answer, self._project).packages

    def _local(self, path: Path) -> list[DistributionPackage]:
        if self._is_index:
            path = path / canonicalize_name(self._project) / "index.html"
            if not path.exists():
                return []
        if path.is_dir():
            # Hashing takes a second for each GB.
            own = [file for file in sorted(path.iterdir()) if _is_of(file.name, self._project)]
            return [_file(file) for file in own]
        page = ProjectPage.from_html(self._project, path.read_bytes(), base_url=path.as_uri())
        return [_hashed(one) for one in page.packages]


def local_path(address: str) -> Path | None:
    """The path behind a ``file:`` address or a plain path, ``None`` for a remote address."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(address).expanduser().resolve()


def _is_of(filename: str, project: str) -> bool:
    try:
        return parse_wheel_filename(filename)[0] == canonicalize_name(project)
    except InvalidWheelFilename:
        return False


def _hashed(package: DistributionPackage) -> DistributionPackage:
    """A package of a local page; such pages often state no hashes."""
    path = local_path(package.url)
    if package.digests.get("sha256") or path is None or not path.is_file():
        return package
    return _file(path)


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
