"""A session of ``requests`` that asks as pip is configured to ask."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from value_steer.contracts.sources.credentials import Credentials

if TYPE_CHECKING:
    from typing_extensions import Self

    from value_steer.contracts.sources.pip_config import IndexSettings

_TIMEOUT = (10.0, 60.0)
_MOST_REDIRECTS = 5
_PASSING = (500, 502, 503, 520, 524, 527)
"""States of a server that are worth another try; pip has the same."""


class Session(requests.Session):
    """One that gives up after a while without being told each time."""

    def __init__(self, timeout: float | tuple[float, float]) -> None:
        super().__init__()
        self._timeout = timeout

    def request(self, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401
        """See :meth:`requests.Session.request`."""
        if options.get("timeout") is None:
            options["timeout"] = self._timeout
        # Else a variable such as REQUESTS_CA_BUNDLE would come before what pip is told.
        return super().request(*args, **{"verify": self.verify, **options})


class _Retry(urllib3.Retry):
    """Asks again without reading the page of the error, which may have no end."""

    def increment(self, *args: Any, **options: Any) -> Self:  # noqa: ANN401
        """See :meth:`urllib3.Retry.increment`."""
        if (answer := options.get("response")) is not None:
            answer.close()
        return super().increment(*args, **options)


class _System(HTTPAdapter):
    """Trusts what this machine trusts beside the certificates of requests, as pip does."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*args, **{"ssl_context": ssl.create_default_context(), **options})

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401
        return super().proxy_manager_for(
            proxy, **{"ssl_context": ssl.create_default_context(), **options}
        )


class _Trusting(HTTPAdapter):
    """Does not ask a server who it is."""

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ANN401, ARG002
        super().cert_verify(conn, url, verify=False, cert=cert)  # type: ignore[no-untyped-call]


def make(settings: IndexSettings) -> Session:
    """A session that keeps its connections."""
    session = Session(settings.timeout or _TIMEOUT)
    session.max_redirects = _MOST_REDIRECTS
    session.hooks["response"].append(_unread)
    # The last of the errors is returned, for its status to be told.
    again = _Retry(
        settings.retries, status_forcelist=_PASSING, backoff_factor=0.25, raise_on_status=False
    )
    kind = HTTPAdapter if settings.certificates else _System
    for scheme in ("https://", "http://"):
        session.mount(scheme, kind(pool_maxsize=16, max_retries=again))
    for host in settings.trusted_hosts:
        session.mount(f"https://{host}/", _Trusting(max_retries=again))
        if ":" not in host:
            session.mount(f"https://{host}:", _Trusting(max_retries=again))
    if settings.trusted_hosts:
        # Whoever trusts a host knows, and a line for each request would hide what matters.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    if settings.certificates:
        session.verify = settings.certificates
    if settings.client_certificate:
        session.cert = settings.client_certificate
    # As in pip, the variables of the environment do not count beside a proxy that is configured.
    session.trust_env = settings.proxy is None and not settings.no_proxy_env
    if settings.proxy is not None:
        session.proxies = dict.fromkeys(("http", "https"), settings.proxy or "")
    addresses = (settings.address or "", *settings.more, *settings.find_links)
    session.auth = Credentials(addresses, settings.keyring)
    return session


def _unread(answer: requests.Response, **_: object) -> None:
    """Close a redirect, whose content requests would read to its end."""
    if answer.is_redirect:
        answer.close()
