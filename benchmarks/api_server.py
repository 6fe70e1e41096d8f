"""vLLM's server in processes of its own, as the benchmarks ask it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import psutil

from compat.behaviour.engines import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_MODULE = "vllm.entrypoints.openai.api_server"
_BOOT_SECONDS = 300
_END_SECONDS = 30


class ApiServer:
    """A server that boots, eager and in fp32; its model's name is ``tiny``.

    Args:
        model: Where the model lies.
        log: Receives its output.
        arguments: Further ones.
        env: Further variables of its environment.
    """

    def __init__(
        self, model: Path, log: Path, arguments: Sequence[str], env: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        self._port = _free_port()
        command = [
            *(sys.executable, "-m", _MODULE),
            *("--model", str(model), "--served-model-name", "tiny"),
            *("--host", "127.0.0.1", "--port", str(self._port), "--uvicorn-log-level", "warning"),
            *("--dtype", "float32", "--max-model-len", "256"),
            *("--enforce-eager", "--generation-config", "vllm"),
            *arguments,
        ]
        own = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", **(env or {})}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT, **own},
                start_new_session=True,  # what interrupts a benchmark is for it to pass on
            )

    def session(self, headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
        """A client of it."""
        return aiohttp.ClientSession(
            f"http://127.0.0.1:{self._port}",
            # One that is kept may be closed by the server just when it is used again.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_read=300),
        )

    async def come_up(self, session: aiohttp.ClientSession) -> None:
        """Wait until it answers.

        Raises:
            SystemExit: It does not; the text ends with the tail of its log.
        """
        for _ in range(_BOOT_SECONDS * 2):
            if not self.is_alive():
                break
            try:
                async with session.get("/health") as reply:
                    if reply.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass  # not yet
            await asyncio.sleep(0.5)
        said = self._log.read_text(errors="replace")[-10_000:]
        msg = f"the server did not come up\n{said}"
        raise SystemExit(msg)

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def processor_seconds(self) -> float:
        """Processor time that the server and its engine have used."""
        server = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (server, *server.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))

    def end(self) -> None:
        """Stop it, and kill what is left of it after a while."""
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def serving(model: Path, log: Path, arguments: Sequence[str]) -> Iterator[ApiServer]:
    """A server for as long as it is needed."""
    server = ApiServer(model, log, arguments)
    try:
        yield server
    finally:
        server.end()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
