"""An HTTP server that answers as a test has it, however wrong."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.contracts.release_server import wheel_bytes
from value_steer.contracts.sources.pip_config import IndexSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

CONTENT = wheel_bytes({"vllm/a.py": "a = 1\n", "vllm/b.py": "b = 2\n"})
SIZE = len(CONTENT)
NAME = "vllm-1.2.3-cp38-abi3-manylinux_2_28_x86_64.whl"
"""A wheel to be served."""
ONCE = IndexSettings(retries=0)


@dataclass(frozen=True)
class Reply:
    """What is sent: the pieces of the content one by one, until the client has enough."""

    pieces: Iterable[bytes] = (b"",)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def answering(reply: Callable[[str, str], Reply]) -> Iterator[str]:
    """Serve ``reply(path, Range header)`` on this machine; the address, with a password in it."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = reply(self.path, self.headers.get("Range", ""))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            try:
                self.end_headers()
                for piece in answer.pieces:
                    if stopped.is_set():
                        break
                    self.wfile.write(piece)
                    self.wfile.flush()
            except OSError:  # the client has gone, as it should
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://someone:secret@127.0.0.1:{http.server_port}/"
        finally:
            stopped.set()
            http.shutdown()
            thread.join()
