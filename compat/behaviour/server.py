"""vLLM's real OpenAI-compatible server with value-steer in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from compat.behaviour.engines import ONE_THREAD, WORKER, EngineDiedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BOOT_SECONDS = 300
# An engine with workers of its own is bound to a core: vLLM 0.20 fails where it is to bind to none.
_BOUND = {"VLLM_CPU_OMP_THREADS_BIND": "0"}


@contextlib.contextmanager
def serving(model: Path, config: dict[str, object], log: Path) -> Iterator[str]:
    """Serve ``model`` under the name ``tiny``; yields the base URL of its API."""
    port = _free_port()
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--served-model-name", "tiny"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--max-model-len", "256", "--max-num-seqs", "4"),
        *("--enforce-eager", "--generation-config", "vllm"),
        *("--worker-cls", WORKER, "--additional-config", json.dumps(config)),
    ]
    own = {**ONE_THREAD, **_BOUND, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own},
            start_new_session=True,
        )
    try:
        _await_health(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_health(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  (our own loopback server)
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    msg = f"the server did not come up\n{log.read_text(errors='replace')[-30_000:]}"
    raise EngineDiedError(msg)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and its engine, which is a process of the same group."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
