"""A package index on this machine, and a proxy in front of it; both note what they are asked."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping


@dataclass
class Index:
    """An index.

    Attributes:
        files: What it serves, by project and file name.
        html: Whether its pages are those of PEP 503, else of PEP 691.
        user: Without whose name and password it serves nothing.
        broken: Projects whose page is no page.
        asked: The paths of all requests.
        address: Where it is, of the host ``127.0.0.1``.
    """

    files: Mapping[str, Mapping[str, bytes]]
    html: bool = False
    user: tuple[str, str] | None = None
    broken: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, path: str, authorization: str) -> tuple[int, str, bytes]:
        """Status, type and body."""
        self.asked.append(path)
        if self.user is not None:
            wanted = base64.b64encode(":".join(self.user).encode()).decode()
            if authorization != f"Basic {wanted}":
                return 401, "text/plain", b"who are you?"
        kind, _, rest = path.strip("/").partition("/")
        if kind == "simple" and rest in self.files:
            return self._page(rest)
        project, _, name = rest.partition("/")
        if kind == "files" and name in self.files.get(project, {}):
            return 200, "application/octet-stream", self.files[project][name]
        return 404, "text/plain", b"nothing here"

    def _page(self, project: str) -> tuple[int, str, bytes]:
        if project in self.broken:
            return 200, "application/vnd.pypi.simple.v1+json", b"{"
        digests = {name: sha256(body).hexdigest() for name, body in self.files[project].items()}
        if self.html:
            links = [
                f'<a href="../../files/{project}/{name}#sha256={digest}">{name}</a>'
                for name, digest in digests.items()
            ]
            return 200, "text/html", "\n".join(links).encode()
        files = [
            {"filename": name, "url": f"/files/{project}/{name}", "hashes": {"sha256": digest}}
            for name, digest in digests.items()
        ]
        body = {"meta": {"api-version": "1.0"}, "name": project, "files": files}
        return 200, "application/vnd.pypi.simple.v1+json", json.dumps(body).encode()


@contextmanager
def indexing(index: Index, secured: ssl.SSLContext | None = None) -> Iterator[Index]:
    """Serve an index, in the clear or as ``https://localhost``."""

    class Handler(_Handler):
        def answer(self) -> None:
            self.send(*index.answer(urlsplit(self.path).path, self.headers["Authorization"] or ""))

    with _serving(Handler, secured) as address:
        index.address = f"{address}/simple/"
        yield index


@contextmanager
def proxying(target: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers for every host with what ``target`` serves, and what it was asked."""
    asked: list[str] = []
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    class Handler(_Handler):
        def answer(self) -> None:
            asked.append(self.path)
            path = urlsplit(self.path).path
            try:
                with direct.open(f"{target.removesuffix('/simple/')}{path}") as answer:
                    self.send(answer.status, answer.headers["Content-Type"], answer.read())
            except urllib.error.HTTPError as error:
                self.send(error.code, "text/plain", b"")

    with _serving(Handler) as address:
        yield address, asked


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer with head and body."""
        self.answer()

    def do_HEAD(self) -> None:
        """Answer with the head alone."""
        self.answer()

    def send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _serving(
    handler: type[BaseHTTPRequestHandler], secured: ssl.SSLContext | None = None
) -> Iterator[str]:
    with _Quiet(("127.0.0.1", 0), handler) as http:
        if secured is not None:
            http.socket = secured.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            host = "http://127.0.0.1" if secured is None else "https://localhost"
            yield f"{host}:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()
