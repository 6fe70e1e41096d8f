"""What the package index that pip is configured for has of a project.

Needs the extra ``index``; nothing else of value-steer asks the network.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import timezone
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from value_steer.contracts.sources.answers import Question, ask, within
from value_steer.errors import ContractError
from value_steer.records.codec import parse_json
from value_steer.records.fields import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import requests
    from packaging.version import Version
    from pypi_simple import DistributionPackage, ProjectPage

_NEEDED = ("pypi_simple", "requests")
# Later sections of pip's configuration override earlier ones.
_SECTIONS = ("global", "install", ":env:")
_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_MOST_REDIRECTS = 5
# They become names in the cache, in candidates and in locks.
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.!+-]{0,249}\.whl", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

LARGEST_PAGE = 32 << 20
"""Bytes of a project's page in JSON; the largest known has 6 MiB."""

LARGEST_HTML = 4 << 20
"""Bytes of one in HTML, which takes two hundred times as many to parse."""

_PAGE_SECONDS = 120.0
_PARSING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where and how to ask: ``None`` leaves it to the libraries' defaults."""

    address: str | None = None
    certificates: str | None = None


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
    url: str
    sha256: str
    requires_python: str
    yanked: bool
    uploaded: datetime | None


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
def shared_session(settings: IndexSettings) -> requests.Session:
    """The session of this process; it keeps its connections and trusts pip's certificates."""
    require_libraries()
    import requests  # noqa: PLC0415  (an optional extra)

    session = requests.Session()
    session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=16, max_retries=3))
    session.max_redirects = _MOST_REDIRECTS
    session.hooks["response"].append(_unread)
    if settings.certificates:
        session.verify = settings.certificates
    return session


def _unread(answer: requests.Response, **_: object) -> None:
    """Close a redirect, whose content requests would read to its end."""
    if answer.is_redirect:
        answer.close()


def project_wheels(project: str, settings: IndexSettings) -> tuple[IndexWheel, ...]:
    """Every wheel of a project, in the order of the index.

    Raises:
        ContractError: The index does not answer, or has no such project.
    """
    session = shared_session(settings)
    import pypi_simple  # noqa: PLC0415  (an optional extra)

    base = settings.address or pypi_simple.PYPI_SIMPLE_ENDPOINT
    address = f"{base.rstrip('/')}/{canonicalize_name(project)}/"
    question = Question(address, LARGEST_PAGE, _PAGE_SECONDS, encodings="gzip", accept=_ACCEPT)
    content = bytearray()
    answer = ask(session, question, content.extend)
    try:
        # Python's own parser of HTML takes hours for a megabyte that is made for it.
        slow = f"{question.shown}: its page takes more than {_PARSING_SECONDS:.0f} s to parse"
        page = within(_PARSING_SECONDS, lambda: _page(project, answer, bytes(content)), slow)
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
            f"{question.shown} is no page of a package index ({type(error).__name__}: "
            f"{shown(str(error))}); check pip's index-url"
        )
        raise ContractError(msg) from error
    return from_packages(page.packages)


def _page(project: str, answer: requests.Response, content: bytes) -> ProjectPage:
    import pypi_simple  # noqa: PLC0415  (an optional extra)

    kind = answer.headers.get("Content-Type", "text/html").partition(";")[0].strip().lower()
    if kind == _JSON:
        return pypi_simple.ProjectPage.from_json_data(parse_json(content), answer.url)
    if kind not in {"application/vnd.pypi.simple.v1+html", "text/html"}:
        msg = f"its content is {kind[:80]}"
        raise ValueError(msg)
    if len(content) > LARGEST_HTML:
        msg = f"its HTML has more than {LARGEST_HTML:,} bytes"
        raise ValueError(msg)
    return pypi_simple.ProjectPage.from_html(project, content, answer.url)


def from_packages(packages: Iterable[DistributionPackage]) -> tuple[IndexWheel, ...]:
    """The wheels among the files of a project; a name or hash that is none is left out."""
    found = []
    for package in packages:
        sha256 = package.digests.get("sha256", "").lower()
        if not (_SHA256.fullmatch(sha256) and _FILENAME.fullmatch(package.filename)):
            continue
        try:
            _, version, build, _ = parse_wheel_filename(package.filename)
        except InvalidWheelFilename:
            continue
        wheel = IndexWheel(
            filename=package.filename,
            version=version,
            build=build[0] if build else 0,
            platform=package.filename.removesuffix(".whl").rpartition("-")[2],
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
    """One wheel per final release, oldest first; x86_64 where there is one."""
    chosen: dict[Version, IndexWheel] = {}
    for wheel in current(wheels):
        if not wheel.version.is_prerelease and (
            wheel.version not in chosen or wheel.platform.endswith("x86_64")
        ):
            chosen[wheel.version] = wheel
    return tuple(chosen[version] for version in sorted(chosen))


def pip_settings() -> IndexSettings:
    """What pip is configured for.

    Raises:
        ContractError: pip does not tell.
    """
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"`pip config list` failed: {done.stderr.strip()}; is pip installed here?"
        raise ContractError(msg)
    return parse_settings(done.stdout.splitlines())


def pip_options(listing: str) -> dict[str, str]:
    """The options in the output of ``pip config list``, as they hold for ``pip install``.

    Raises:
        ContractError: A line is no ``section.option='value'``.
    """
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in filter(None, map(str.strip, listing.splitlines())):
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        try:
            text = str(ast.literal_eval(value))
        except (SyntaxError, ValueError) as error:
            msg = f"`pip config list` printed {line!r}, which is no section.option='value'"
            raise ContractError(msg) from error
        if section in sections:
            sections[section][option] = text
    return {name: text for section in _SECTIONS for name, text in sections[section].items()}


def parse_settings(lines: Sequence[str]) -> IndexSettings:
    """Settings from the lines that ``pip config list`` prints."""
    merged = pip_options("\n".join(lines))
    return IndexSettings(merged.get("index-url"), merged.get("cert"))
