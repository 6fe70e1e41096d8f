"""A package index in miniature: wheels over HTTP, with ranges or without."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from packaging.version import Version

from value_steer.contracts.sources.index import IndexWheel

if TYPE_CHECKING:
    from collections.abc import Iterator


def wheel_bytes(files: dict[str, str]) -> bytes:
    """A wheel with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return buffer.getvalue()


class Server:
    """One file at ``url``, and the ranges that were asked for."""

    def __init__(self, content: bytes, *, ranges: bool) -> None:
        self.content = content
        self.ranges = ranges
        self.asked: list[str] = []
        self.url = ""

    def wheel(self, version: str = "1.2.3", sha256: str | None = None) -> IndexWheel:
        """The entry of the index for the file."""
        digest = sha256 or hashlib.sha256(self.content).hexdigest()
        return IndexWheel(
            filename=f"vllm-{version}-cp38-abi3-manylinux_2_28_x86_64.whl",
            version=Version(version),
            build=0,
            platform="manylinux_2_28_x86_64",
            url=self.url,
            sha256=digest,
            requires_python="",
            yanked=False,
            uploaded=None,
        )


@contextmanager
def serve(content: bytes, *, ranges: bool = True) -> Iterator[Server]:
    """Serve a file on this machine."""
    server = Server(content, ranges=ranges)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            server.asked.append(wanted)
            match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
            if not (server.ranges and match):
                self._send(200, server.content, None)
                return
            size = len(server.content)
            first, last = match.groups()
            start = int(first) if first else max(0, size - int(last))
            stop = int(last) + 1 if first else size
            body = server.content[start:stop]
            self._send(206, body, f"bytes {start}-{start + len(body) - 1}/{size}")

        def _send(self, status: int, body: bytes, span: str | None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if span:
                self.send_header("Content-Range", span)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}/vllm.whl"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
