"""pip's configuration: where packages come from, and how they are asked for."""

from __future__ import annotations

import ast
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Later sections of pip's configuration override earlier ones.
_SECTIONS = ("global", "install", ":env:")
_SAME = {"pypi-url": "index-url"}
_RETRIES = 5
_MOST = 1_000_000
_TRUE = {"y", "yes", "t", "true", "on", "1"}
_FALSE = {"n", "no", "f", "false", "off", "0"}
_CREDENTIALS = re.compile(r"(?<=://)[^/\s'\"]*@")


class Keyring(Enum):
    """Where pip looks for the password of an index that refuses: ``keyring-provider``.

    ``auto`` is the package, or else the program; neither with ``no-input``, for it may ask.
    """

    AUTO = "auto"
    DISABLED = "disabled"
    IMPORT = "import"
    SUBPROCESS = "subprocess"


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where and how to ask: ``None`` leaves it to the libraries' defaults.

    Addresses may hold credentials, so they are not shown.

    Attributes:
        address: Of the package index.
        certificates: File of those that are trusted.
        more: Addresses of further indexes.
        find_links: Folders, files and pages that list packages themselves.
        no_index: Nothing but those is asked.
        proxy: Empty for none, whatever the environment says.
        trusted_hosts: Whose certificates are not checked.
        client_certificate: Shown to servers.
        timeout: Seconds of silence after which a request has failed.
        retries: How often one is made again.
        no_proxy_env: The variables of the environment name no proxy.
        keyring: Where passwords are looked for.
    """

    address: str | None = field(default=None, repr=False)
    certificates: str | None = None
    more: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)
    no_index: bool = False
    proxy: str | None = field(default=None, repr=False)
    trusted_hosts: tuple[str, ...] = ()
    client_certificate: str | None = None
    timeout: float | None = None
    retries: int = _RETRIES
    no_proxy_env: bool = False
    keyring: Keyring = Keyring.AUTO


def pip_settings() -> IndexSettings:
    """Read pip's configuration, by its files and by variables of the environment.

    Raises:
        ContractError: pip does not tell.
    """
    return parse_settings(pip_listing().splitlines())


def pip_listing(environ: Mapping[str, str] | None = None) -> str:
    """The output of ``pip config list``, each option with the value that holds last.

    Args:
        environ: pip's environment; ``None`` for that of this process.

    Raises:
        ContractError: pip does not tell.
    """
    text = _pip_config(environ, "list")
    times = Counter(line.partition("=")[0] for line in text.splitlines())
    # It lists files by their names; which of several wins, by their kind, is in what it gets.
    several = [key for key, count in times.items() if count > 1]
    won = (f"{key}={_pip_config(environ, 'get', key)[:-1]!r}\n" for key in several)
    return "".join((text, *won))


def _pip_config(environ: Mapping[str, str] | None, *words: str) -> str:
    command = [sys.executable, "-m", "pip", "config", *words]
    env = None if environ is None else dict(environ)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = (
            f"`pip config {' '.join(words)}` failed: {redacted(done.stderr.strip())}; is pip "
            "installed here, and its configuration sound?"
        )
        raise ContractError(msg)
    return done.stdout


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
            msg = f"`pip config list` printed {redacted(line)!r}, no section.option='value'"
            raise ContractError(msg) from error
        if section in sections:
            sections[section][_SAME.get(option, option)] = text
    # To pip, what is set to nothing is not set: PIP_INDEX_URL= leaves the index of the files.
    return {name: text for section in _SECTIONS for name, text in sections[section].items() if text}


def parse_settings(lines: Sequence[str]) -> IndexSettings:
    """Settings from the lines that ``pip config list`` prints.

    Raises:
        ContractError: One has no value that pip would take.
    """
    merged = pip_options("\n".join(lines))
    timeout = _number(merged, "timeout", _number(merged, "default-timeout", None))
    retries = _number(merged, "retries", None)
    return IndexSettings(
        address=merged.get("index-url"),
        certificates=merged.get("cert"),
        more=tuple(merged.get("extra-index-url", "").split()),
        find_links=tuple(merged.get("find-links", "").split()),
        no_index=is_set(merged, "no-index"),
        proxy=merged.get("proxy"),
        trusted_hosts=tuple(merged.get("trusted-host", "").split()),
        client_certificate=merged.get("client-cert"),
        timeout=timeout,
        retries=_RETRIES if retries is None else int(retries),
        no_proxy_env=is_set(merged, "no-proxy-env"),
        keyring=_keyring(merged),
    )


def is_set(options: Mapping[str, str], name: str) -> bool:
    """Whether a flag is on, in any of the words that pip takes for it.

    Raises:
        ContractError: It is none of them, nor of those for a flag that is off.
    """
    text = options.get(name, "0")
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        msg = f"pip's option {name} is {text[:40]!r}, which is neither true nor false"
        raise ContractError(msg)
    return word in _TRUE


def redacted(text: str) -> str:
    """A text without the credentials of the addresses in it."""
    return _CREDENTIALS.sub("****@", text)


def local_path(address: str) -> Path | None:
    """The path behind a ``file:`` address or a plain path, ``None`` for a remote address."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(address).expanduser().resolve()


def _keyring(options: Mapping[str, str]) -> Keyring:
    text = options.get("keyring-provider", Keyring.AUTO.value)
    try:
        keyring = Keyring(text)
    except ValueError:
        known = ", ".join(one.value for one in Keyring)
        msg = f"pip's option keyring-provider is {text[:40]!r}, none of {known}"
        raise ContractError(msg) from None
    silent = keyring is Keyring.AUTO and is_set(options, "no-input")
    return Keyring.DISABLED if silent else keyring


def _number(options: Mapping[str, str], name: str, default: float | None) -> float | None:
    text = options.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= _MOST:
        msg = (
            f"pip's option {name} is {text[:40]!r}, which is no number from 0 to {_MOST:,}; "
            "`pip config unset` removes it"
        )
        raise ContractError(msg)
    return number
