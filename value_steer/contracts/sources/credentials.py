"""Names and passwords for package indexes: of addresses, netrc and the keyring, as in pip."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_netrc_auth

from value_steer.contracts.sources.pip_config import Keyring

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests

logger = logging.getLogger(__name__)

Login: TypeAlias = tuple[str, str]

_SECONDS = 60.0
"""A keyring that waits for somebody to unlock it is not waited for longer."""


class Credentials(AuthBase):
    """Those in the addresses of indexes, for all that their hosts serve, else those of netrc.

    A host that refuses is asked once more with what the keyring has, if pip would look there.

    Args:
        addresses: Of the indexes and of pages of links.
        keyring: Where pip is configured to look.
    """

    def __init__(self, addresses: Iterable[str], keyring: Keyring) -> None:
        self._keyring = keyring
        parts = [urlsplit(address) for address in addresses]
        self._services = {
            _host(one.netloc): urlunsplit((one.scheme, _host(one.netloc), one.path, "", ""))
            for one in reversed(parts)
        }
        self._names = {
            _host(one.netloc): unquote(one.username) for one in parts if one.username is not None
        }
        self._known = {
            _host(one.netloc): (unquote(one.username), unquote(one.password or ""))
            for one in parts
            if one.username is not None
        }
        self._refused: set[str] = set()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """See :class:`requests.auth.AuthBase`."""
        url = request.url or ""
        found = self._known.get(_host(urlsplit(url).netloc)) or get_netrc_auth(url)
        if self._keyring is not Keyring.DISABLED:
            request.hooks["response"].append(self._again)
        return request if found is None else HTTPBasicAuth(*found)(request)

    def _again(self, answer: requests.Response, **options: Any) -> requests.Response:  # noqa: ANN401
        """The host's answer to the keyring's credentials, if it refused others or none."""
        host = _host(urlsplit(answer.url).netloc)
        if answer.status_code != 401 or host in self._refused:
            return answer
        self._refused.add(host)
        services = (self._services.get(host), host)
        name = self._names.get(host)
        found = (kept(self._keyring, service, name) for service in services if service)
        login = next((one for one in found if one is not None), None)
        if login is None:
            return answer
        self._known[host] = login
        answer.close()
        request = HTTPBasicAuth(*login)(answer.request.copy())
        second: requests.Response = answer.connection.send(request, **options)
        second.history.append(answer)
        return second


@cache
def kept(keyring: Keyring, service: str, name: str | None) -> Login | None:
    """The keyring's entry for an address or a host; ``None`` without an entry or a keyring.

    Args:
        keyring: How to ask it.
        service: The address or the host.
        name: Of the user, if it is known.
    """
    if keyring in {Keyring.IMPORT, Keyring.AUTO}:
        try:
            found = import_module("keyring").get_credential(service, name)
        except ModuleNotFoundError:
            pass
        # A backend can raise anything: pip goes on without it as well, and says so.
        except Exception as error:  # noqa: BLE001
            logger.warning("the keyring cannot be asked (%s: %s)", type(error).__name__, error)
        else:
            return None if found is None else (found.username, found.password)
    program = None if keyring is Keyring.IMPORT else shutil.which("keyring")
    return None if program is None else _told(program, service, name)


def _told(program: str, service: str, name: str | None) -> Login | None:
    command = [program, "--mode=creds", "--output=json", "get", service]
    try:
        done = subprocess.run(
            [*command, *(() if name is None else (name,))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("`keyring get` failed: %s", error)
        return None
    if done.returncode != 0:
        return None
    try:
        body = json.loads(done.stdout)
        login = body["username"], body["password"]
    except (ValueError, LookupError, TypeError):
        login = None, None
    if not all(isinstance(part, str) for part in login):
        logger.warning("`keyring get` printed no username and password; is it older than 25.2.1?")
        return None
    return login


def _host(netloc: str) -> str:
    return netloc.rpartition("@")[2].lower()
