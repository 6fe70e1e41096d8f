"""vLLM's real OpenAI-compatible server with value-steer in it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from compat.behaviour.engines import (
    ENVIRONMENT,
    GRAPHS,
    SHARED_GPU,
    WORKER,
    EngineDiedError,
)
from compat.behaviour.processes import ForkedProcess, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

KEY = "none"
"""The key of a server's client; clients that were given no key say it too."""

_BOOT_SECONDS = 300
_NOTICES = (
    "does not say what became of answers",
    "cannot be asked what became of answers",
    "passed on without one",
)
_MODULE = "vllm.entrypoints.openai.api_server"
_OWN_ENVIRONMENT = {
    # An engine with workers of its own is bound to a core: vLLM 0.20 fails where it is to bind to
    # none.
    "VLLM_CPU_OMP_THREADS_BIND": "0",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
}


class Server:
    """A server that boots; the model's name is ``tiny``.

    Args:
        model: Where the model lies.
        config: Its ``additional_config``.
        log: Receives its output.
        more: Further arguments.
        env: Further variables of its environment.
    """

    def __init__(
        self,
        model: Path,
        config: dict[str, object],
        log: Path,
        *,
        more: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._port = _free_port()
        arguments = [
            *("--model", str(model), "--served-model-name", "tiny"),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            *("--dtype", "float32", "--max-model-len", "256", "--max-num-seqs", "4"),
            *("--generation-config", "vllm"),
            *(() if GRAPHS else ("--enforce-eager",)),
            *_options(SHARED_GPU),
            *("--num-gpu-blocks-override", "128"),  # enough, and soon zeroed
            *("--middleware", "value_steer.http.Steering", "--api-key", KEY),
            *("--worker-cls", WORKER, "--additional-config", json.dumps(config)),
            *more,
        ]
        own = {**_OWN_ENVIRONMENT, **(env or {})}
        self._process = ForkedProcess(log, ENVIRONMENT, own, run_command, _MODULE, arguments)

    def url(self) -> str:
        """The base URL of its API, once it answers.

        Raises:
            EngineDiedError: It does not come up.
        """
        _await_health(self._process, f"http://127.0.0.1:{self._port}/health", self._log)
        return f"http://127.0.0.1:{self._port}/v1"

    def log(self) -> str:
        """The log of the server and its engine so far."""
        return self._log.read_text(errors="replace")

    def notices(self) -> list[str]:
        """Its notices of answers whose outcome it could not tell, each kind once."""
        lines = self.log().splitlines()
        return [notice for notice in _NOTICES if any(notice in line for line in lines)]

    def ask(self, path: str, body: object = None, key: str = KEY) -> tuple[int, str]:
        """Status and text of a reply.

        Args:
            path: Of the request.
            body: Sent as JSON; ``None``: nothing is sent.
            key: What the caller knows.
        """
        url = self.url().removesuffix("/v1") + path
        request = urllib.request.Request(url)  # noqa: S310  (our own loopback server)
        request.add_header("Authorization", f"Bearer {key}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self) -> None:
        """Stop it and its engine."""
        self._process.interrupt()
        self._process.end(patience=30)


@contextlib.contextmanager
def serving(model: Path, config: dict[str, object], log: Path) -> Iterator[str]:
    """Serve ``model`` under the name ``tiny``; yields the base URL of its API."""
    server = Server(model, config, log)
    try:
        yield server.url()
    finally:
        server.end()


def _options(values: Mapping[str, object]) -> list[str]:
    """Engine arguments as the command line has them."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_health(process: ForkedProcess, url: str, log: Path) -> None:
    deadline = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < deadline and process.is_alive():
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  (our own loopback server)
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    msg = f"the server did not come up\n{log.read_text(errors='replace')[-30_000:]}"
    raise EngineDiedError(msg)
