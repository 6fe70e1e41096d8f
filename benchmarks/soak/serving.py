"""The server of a soak, its processes and what they use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

import compat.behaviour
from benchmarks.soak import census
from benchmarks.soak.record import Usage
from compat.behaviour import heads, tiny_models
from compat.behaviour.engines import ENVIRONMENT, WORKER
from compat.behaviour.messages import LATE
from compat.behaviour.server import KEY

_MODULE = "vllm.entrypoints.openai.api_server"
_BOOT_SECONDS = 300
_END_SECONDS = 30
_CENSUS_TRIES = 300
_NAMES = ("EngineCore", "Worker")
"""In what vLLM calls its processes that do something."""
_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
_FAILURES = re.compile(
    r"passed on without one|cannot be asked|does not say|not in .metrics|EngineDeadError"
)
"""What a log says only where something failed."""


class SoakServer:
    """vLLM's server with asynchronous scheduling and a cache that is too small for its requests.

    Args:
        folder: For the model and the head.
        log: Receives its output.
        blocks: Size of the cache.
        plain: Whether it is one without value-steer.

    Attributes:
        failures: Lines of its log that tell of a failure, as far as it was read.
        is_asynchronous: Whether the log says that the outputs of its steps are promises.
    """

    def __init__(self, folder: Path, log: Path, blocks: int, *, plain: bool) -> None:
        self.failures: list[str] = []
        self.is_asynchronous = False
        self._log = log
        self._read = 0
        self._folder = folder
        self._port = _free_port()
        model = tiny_models.build("mistral", folder / "model")
        arguments = [
            *("--model", str(model), "--served-model-name", "tiny", "--api-key", KEY),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            *("--dtype", "float32", "--max-model-len", "256", "--max-num-seqs", "64"),
            *("--enforce-eager", "--generation-config", "vllm", "--uvicorn-log-level", "warning"),
            # Without it vLLM's CPU forgets all seeds in a batch that has one greedy row.
            "--use-fp64-gumbel",
            *("--block-size", "16", "--num-gpu-blocks-override", str(blocks)),
            *([] if plain else _steering(model, folder)),
        ]
        environment = {**os.environ, **ENVIRONMENT, **_ENVIRONMENT, **self._found()}
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # what interrupts the soak is for the soak to pass on
            )

    def _found(self) -> dict[str, str]:
        """Variables by which its processes find what the soak puts into them."""
        here, suite = Path(__file__).parent, Path(compat.behaviour.__file__).parent
        own = map(str, (here.parent.parent, here / "plugin", suite / "asynchronous"))
        found = os.pathsep.join(filter(None, (*own, os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": found, census.FOLDER: str(self._folder)}

    def session(self) -> aiohttp.ClientSession:
        """A client of it."""
        return aiohttp.ClientSession(
            f"http://127.0.0.1:{self._port}",
            # One that is kept may be closed by the server just when it is used again.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            headers={"Authorization": f"Bearer {KEY}"},
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

    def read_log(self) -> None:
        """Read on in its log: what it says of failures, and whether outputs are promises."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]  # the rest of a line comes later
        self._read += len(new)
        for line in new.decode(errors="replace").splitlines():
            self.is_asynchronous |= LATE in line
            if _FAILURES.search(line):
                self.failures.append(line)

    def usage(self) -> list[Usage]:
        """What its processes use, the API server first."""
        found = []
        for name, process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():  # just ended
                times, resident = process.cpu_times(), process.memory_info().rss
                found.append(Usage(name, resident, times.user + times.system))
        return found

    async def census(self) -> dict[str, dict[str, int]]:
        """What is alive of value-steer in each process.

        Raises:
            TimeoutError: One does not say.
        """
        told = {}
        for name, process in self._processes():
            path = self._folder / f"{process.pid}.json"
            path.unlink(missing_ok=True)
            process.send_signal(census.SIGNAL)
            for _ in range(_CENSUS_TRIES):
                if path.exists():
                    break
                await asyncio.sleep(0.1)
            else:
                msg = f"{name} does not say what is alive in it"
                raise TimeoutError(msg)
            told[name] = json.loads(path.read_bytes())
        return told

    def _processes(self) -> list[tuple[str, psutil.Process]]:
        """Those that serve."""
        server = psutil.Process(self._process.pid)
        named = [("API server", server)]
        for process in server.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())
                named += [(name, process) for name in _NAMES if name in command]
        return named

    def end(self) -> None:
        """Stop it, and kill what is left of it after a while."""
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def busy() -> float:
    """Seconds that the processors of this machine have worked."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


async def post(session: aiohttp.ClientSession, path: str, body: object) -> int:
    """Status of what a route says to JSON."""
    async with session.post(path, json=body) as reply:
        await reply.read()
        return int(reply.status)


async def metrics(session: aiohttp.ClientSession) -> dict[str, float]:
    """The sums of what ``/metrics`` says, by name."""
    async with session.get("/metrics") as reply:
        text = await reply.text()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def _steering(model: Path, folder: Path) -> list[str]:
    head = str(heads.token_recognising(model, folder / "head.safetensors"))
    section = {"value_head_path": head, "threshold": 0.5}
    config = json.dumps({"abstain": section, "vfd": section})
    return [
        *("--worker-cls", WORKER, "--additional-config", config),
        *("--middleware", "value_steer.http.Steering"),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
