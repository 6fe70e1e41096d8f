"""This machine's pip configuration, rewritten so that it holds inside an image build."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from compat.errors import InfraError
from value_steer.contracts.sources.pip_config import parse_settings, pip_listing, pip_options
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACES = ("index-url", "extra-index-url", "find-links")
_SCALARS = (
    "no-index",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
    "trusted-host",
    "no-proxy-env",
)
# Files of this machine, which count where packages are chosen, not where a lock is installed.
_FILES = ("constraint", "client-cert")
_CERT_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
LOOPBACK = "127.0.0.1"
"""Where folders of this machine are served."""
CERT_INSIDE = "/etc/value-steer-ca.pem"


@dataclass(frozen=True, slots=True)
class PipSettings:
    """Where pip takes packages from.

    Attributes:
        values: Options by name, lists as tuples of addresses or paths.
        cert: Bundle of trusted certificates, or ``None`` for pip's own.
    """

    values: Mapping[str, tuple[str, ...]]
    cert: Path | None

    def local_folders(self) -> dict[str, Path]:
        """Folders on this machine that hold packages, by the name to serve them under."""
        places = [place for option in _PLACES for place in self.values.get(option, ())]
        roots = [_root(path) for path in map(_local, places) if path is not None and path.exists()]
        return {str(number): root for number, root in enumerate(dict.fromkeys(roots))}

    def render(self, address: str) -> str:
        """A ``pip.conf`` in which local folders are read from ``address``.

        Args:
            address: Where the folders of :meth:`local_folders` are served. Local paths that do
                not exist are left out.
        """
        lines = ["[global]", "disable-pip-version-check = true"]
        lines += [f"cert = {CERT_INSIDE}"] if self.cert else []
        for option, values in self.places(address).items():
            if values and option not in (*_FILES, "proxy"):
                lines += [f"{option} =", *(f"    {value}" for value in values)]
        return "\n".join(lines) + "\n"

    def proxy_variables(self) -> dict[str, str]:
        """The proxy as variables, which leave out the loopback address; pip's option would not."""
        if "proxy" not in self.values:
            return {}
        proxy = "".join(self.values["proxy"])
        return {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": LOOPBACK}

    def places(self, address: str) -> dict[str, tuple[str, ...]]:
        """The options, with local folders read from ``address``; see :meth:`render`."""
        names = {root: name for name, root in self.local_folders().items()}
        options = dict(self.values)
        for option in _PLACES:
            if option in options:
                rewritten = [_rewritten(value, names, address) for value in options[option]]
                options[option] = tuple(value for value in rewritten if value)
        return options


def read(environ: Mapping[str, str] = os.environ) -> PipSettings:
    """The settings that pip would use for ``pip install`` in this process.

    Raises:
        InfraError: pip cannot tell its configuration.
    """
    try:
        listing = pip_listing(environ)
    except ContractError as error:
        raise InfraError(str(error)) from error
    return parse(listing, environ)


def parse(listing: str, environ: Mapping[str, str]) -> PipSettings:
    """Settings from the output of ``pip config list``.

    Raises:
        InfraError: The output is not a list of ``section.option='value'`` lines.
    """
    options = _options(listing)
    names = _PLACES + _SCALARS + _FILES
    values = {name: tuple(options[name].split()) for name in names if name in options}
    candidates = [options.get("cert"), *(environ.get(name) for name in _CERT_VARIABLES)]
    bundles = [Path(name).expanduser() for name in candidates if name]
    return PipSettings(values, next((path for path in bundles if _is_file(path)), None))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have, which pip cannot open either
        return False


def _options(listing: str) -> dict[str, str]:
    try:
        parse_settings(listing.splitlines())  # a number that is none would fail much later
        return pip_options(listing)
    except ContractError as error:
        raise InfraError(str(error)) from error


def _local(place: str) -> Path | None:
    """The path behind a ``file:`` address or a plain path, ``None`` for a remote address."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(place).expanduser().resolve()


def _root(path: Path) -> Path:
    """The folder to serve; the pages of an index link to files beside its folder."""
    return path.parent if _is_file(path) or path.name == "simple" else path


def _rewritten(place: str, names: Mapping[Path, str], address: str) -> str | None:
    path = _local(place)
    if path is None:
        return place
    if not path.exists():
        return None
    root = _root(path)
    rest = path.relative_to(root).as_posix()
    return f"{address}/{names[root]}/" + ("" if rest == "." else rest)
