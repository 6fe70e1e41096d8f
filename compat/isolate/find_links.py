"""Serves local package folders to an image build, over loopback and for as long as it lasts."""

from __future__ import annotations

import contextlib
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The address ends up in a layer of the image: while it stays the same, the layers are reused.
_USUAL_PORT = 48217
_SERVED = (".whl", ".metadata", ".html", ".gz", ".zip")
_NOWHERE = "/nonexistent"


@contextlib.contextmanager
def serve(folders: Mapping[str, Path], port: int = _USUAL_PORT) -> Iterator[str]:
    """Serve each folder's packages as ``<address>/<name>/`` while the context lasts.

    Args:
        folders: Folders by the name they are served under.
        port: Port to use; another one is taken if it is occupied.

    Yields:
        The address, without a slash at its end.
    """
    with _bind(port, folders) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, folders: Mapping[str, Path]) -> None:
        self.folders = folders
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent when a client hangs up: uv reads no more of a file than it needs."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError | ConnectionResetError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(SimpleHTTPRequestHandler):
    """Gives out listings and package files, nothing else that may lie in the folders."""

    server: _Server

    def translate_path(self, path: str) -> str:
        """The file behind ``/<name>/<rest>``."""
        name, _, rest = path.lstrip("/").partition("/")
        folder = self.server.folders.get(name)
        if folder is None:
            return _NOWHERE
        self.directory = str(folder)
        target = super().translate_path(f"/{rest}")
        return target if Path(target).is_dir() or target.endswith(_SERVED) else _NOWHERE

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent: pip's own log names what it fetched."""


def _bind(port: int, folders: Mapping[str, Path]) -> _Server:
    try:
        return _Server(port, folders)
    except OSError:
        return _Server(0, folders)
