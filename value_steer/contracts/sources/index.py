"""A project on the package index that pip is configured for.

Needs the extra ``index``; nothing else of value-steer asks the network.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field, replace
from datetime import timezone
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from packaging.version import Version

from value_steer.contracts.sources.filenames import wheel_name
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from pypi_simple import DistributionPackage

    from value_steer.contracts.sources.pip_config import IndexSettings
    from value_steer.contracts.sources.session import Session

_NEEDED = ("pypi_simple", "requests")
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexWheel:
    """A wheel on the index.

    Attributes:
        build: The build number, 0 if it has none; a higher one replaces a lower one.
        platform: The last part of the file name: ``manylinux_2_28_x86_64``.
        url: Where it is; never written to a file.
        uploaded: When it appeared, ``None`` if the index does not say.
    """

    filename: str
    version: Version
    build: int
    platform: str
    url: str = field(repr=False)
    sha256: str
    requires_python: str
    yanked: bool
    uploaded: datetime | None

    @property
    def is_for_linux(self) -> bool:
        """Whether the machines of the matrix could install it."""
        tags = self.platform.split(".")
        return any(tag.startswith(("manylinux", "linux_")) or tag == "any" for tag in tags)


def require_libraries() -> None:
    """Make sure that the libraries of the extra are there.

    Raises:
        ContractError: One is missing; the message has the command that installs it.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        msg = (
            f"asking the package index needs {' and '.join(missing)}; "
            "install with: pip install 'value-steer[index]'"
        )
        raise ContractError(msg)


# Making a connection costs more than reading a file over one, so each process keeps its own.
@cache
def shared_session(settings: IndexSettings) -> Session:
    """The session of this process; it keeps its connections and asks as pip would."""
    require_libraries()
    from value_steer.contracts.sources.session import make  # noqa: PLC0415  (an optional extra)

    return make(settings)


def project_wheels(project: str, settings: IndexSettings) -> tuple[IndexWheel, ...]:
    """Every wheel of a project, in the order of the places that pip looks at.

    A place that does not answer is passed over with a warning, as pip does, if another one does.

    Raises:
        ContractError: None of the places has the project.
    """
    session = shared_session(settings)
    from value_steer.contracts.sources.pages import places  # noqa: PLC0415  (an optional extra)

    found: dict[str, IndexWheel] = {}
    silent = []
    for place in places(project, settings, session):
        try:
            wheels = from_packages(place.files())
        except ContractError as err:
            silent.append(str(err))
            continue
        for wheel in wheels:
            found.setdefault(wheel.filename, wheel)
    if not found and silent:
        msg = f"no wheels of {project} are found: {'; '.join(silent)}"
        raise ContractError(msg)
    if not found:
        index = "find-links, as no-index is set" if settings.no_index else "index-url"
        msg = f"no place that pip looks at has a page of {project}; check pip's {index}"
        raise ContractError(msg)
    for reason in silent:
        _log.warning("some wheels of %s may be missing: %s", project, reason)
    return tuple(found.values())


def from_packages(packages: Iterable[DistributionPackage]) -> tuple[IndexWheel, ...]:
    """The wheels among the files of a project; a name or hash that is none is left out."""
    found = []
    for package in packages:
        name = wheel_name(package.filename)
        sha256 = package.digests.get("sha256", "").lower()
        if name is None or not _SHA256.fullmatch(sha256):
            continue
        wheel = IndexWheel(
            filename=package.filename,
            version=name.version,
            build=name.build,
            platform=name.platform,
            url=package.url,
            sha256=sha256,
            requires_python=package.requires_python or "",
            yanked=bool(package.is_yanked),
            uploaded=_aware(package.upload_time),
        )
        found.append(wheel)
    return tuple(found)


def _aware(moment: datetime | None) -> datetime | None:
    """A moment that can be compared; the standard has no other zone than UTC."""
    return moment.replace(tzinfo=timezone.utc) if moment and moment.tzinfo is None else moment


def current(wheels: Iterable[IndexWheel]) -> tuple[IndexWheel, ...]:
    """Of the wheels of each version and platform the one with the highest build number."""
    best: dict[tuple[Version, str], IndexWheel] = {}
    for wheel in sorted(wheels, key=lambda wheel: (wheel.version, wheel.platform, wheel.build)):
        if not wheel.yanked:
            best[wheel.version, wheel.platform] = wheel
    return tuple(best.values())


def for_reading(wheels: Iterable[IndexWheel]) -> tuple[IndexWheel, ...]:
    """One wheel per final release, oldest first; of Linux on x86_64 where there is one."""
    chosen: dict[Version, IndexWheel] = {}
    for wheel in sorted(current(wheels), key=_for_reading):
        # A build such as 0.28.0+cu129 is of a release, and is none of its own.
        release = Version(wheel.version.public)
        if not release.is_prerelease:
            chosen[release] = replace(wheel, version=release)
    return tuple(chosen[version] for version in sorted(chosen))


def _for_reading(wheel: IndexWheel) -> tuple[bool, bool, bool]:
    """The last in this order is read."""
    return wheel.is_for_linux, wheel.platform.endswith("x86_64"), wheel.version.local is None
