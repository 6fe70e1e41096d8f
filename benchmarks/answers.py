"""What it costs that callers and operators see what steering did.

``nox -s bench-answers`` runs two real servers with the same steering, only one of which has
``value_steer.http.Steering``, and asks them in turn; both live all the time, so that what disturbs
the machine disturbs them alike. The processor time of a server and of its engine decides, wall
time stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import psutil

from benchmarks.decode_models import SIZES, build, random_head
from compat.behaviour import facts
from compat.behaviour.engines import ENVIRONMENT, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MODULE = "vllm.entrypoints.openai.api_server"
_BOOT_SECONDS = 300
_ROWS = 16
_PROMPT_WORDS = 32
_SHOWN = ("--middleware", "value_steer.http.Steering")


@dataclass(frozen=True)
class Settings:
    """What to measure; ``tokens`` per answer, ``answers`` per round, all at once."""

    size: str
    tokens: int
    answers: int
    rounds: int
    stream: bool


@dataclass(frozen=True)
class Round:
    """What the same answers took of either server: seconds of processor time, and of wall time."""

    processor: tuple[float, float]
    wall: tuple[float, float]


def main() -> None:
    """Measure, print the medians, write ``answers-SIZE-TOKENS.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--answers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    asked = vars(parser.parse_args())
    out = asked.pop("out")
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(**asked)
    with tempfile.TemporaryDirectory() as folder:
        rounds = asyncio.run(_measure(settings, Path(folder)))
    for name in ("processor", "wall"):
        ratios = [with_it / without for without, with_it in (getattr(r, name) for r in rounds)]
        sys.stdout.write(
            f"{name} time without / with: {1 / statistics.median(ratios):.3f} "
            f"({1 / max(ratios):.3f} to {1 / min(ratios):.3f})\n"
        )
    each = statistics.median(r.processor[1] - r.processor[0] for r in rounds) / settings.answers
    sys.stdout.write(f"processor time of an answer's outcome: {1e3 * each:.2f} ms\n")
    report = {
        "environment": facts.facts(),
        "settings": asdict(settings),
        "rounds": [asdict(one) for one in rounds],
    }
    name = f"answers-{settings.size}-{settings.tokens}{'-stream' if settings.stream else ''}"
    (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


async def _measure(settings: Settings, folder: Path) -> list[Round]:
    size = SIZES[settings.size]
    model = build(size, folder / "model")
    head = str(random_head(size, folder / "head.safetensors"))
    section = {"value_head_path": head, "threshold": 1.0}  # it objects to nothing
    config = json.dumps({"abstain": {**section, "threshold": 0.0}, "vfd": section})
    steering = ["--worker-cls", WORKER, "--additional-config", config]
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(_serving(model, [*steering, *more], folder / name))
            for name, more in (("hidden.log", ()), ("shown.log", _SHOWN))
        ]
        # A connection that is kept may be closed by the server just when it is used again.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            for server in servers:
                await server.come_up(session)
            for server in servers * 2:  # what is done once is done before it counts
                told = await _ask(server, session, settings)
            assert told == settings.answers, "an answer carries no outcome"
            return [await _round(servers, session, settings, i) for i in range(settings.rounds)]


async def _round(
    servers: list[_Server], session: aiohttp.ClientSession, settings: Settings, number: int
) -> Round:
    used, took = [0.0, 0.0], [0.0, 0.0]
    for which in (0, 1) if number % 2 else (1, 0):
        before, began = servers[which].processor_seconds(), time.perf_counter()
        await _ask(servers[which], session, settings)
        took[which] = time.perf_counter() - began
        used[which] = servers[which].processor_seconds() - before
    return Round((used[0], used[1]), (took[0], took[1]))


async def _ask(server: _Server, session: aiohttp.ClientSession, settings: Settings) -> int:
    """How many answers said what became of them."""
    draw = random.Random(5)  # noqa: S311  (test data)

    async def one(seed: int) -> bool:
        body = {
            "model": "tiny",
            "prompt": " ".join(f"w{draw.randrange(4, 500):03}" for _ in range(_PROMPT_WORDS)),
            "max_tokens": settings.tokens,
            "temperature": 1.0,
            "seed": seed,
            "stream": settings.stream,
        }
        async with session.post(f"{server.url}/v1/completions", json=body) as reply:
            reply.raise_for_status()
            return b'"value_steer"' in await reply.read()

    return sum(await asyncio.gather(*map(one, range(settings.answers))))


class _Server:
    """A server in processes of its own."""

    def __init__(self, model: Path, more: Sequence[str], log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        arguments = [
            *("--model", str(model), "--served-model-name", "tiny"),
            *("--host", "127.0.0.1", "--port", str(port), "--uvicorn-log-level", "warning"),
            *("--dtype", "float32", "--max-model-len", "256", "--max-num-seqs", str(_ROWS)),
            *("--enforce-eager", "--generation-config", "vllm"),
            *("--num-gpu-blocks-override", "256", *more),
        ]
        own = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, *arguments],
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT, **own},
                start_new_session=True,
            )

    async def come_up(self, session: aiohttp.ClientSession) -> None:
        """Wait until it answers.

        Raises:
            SystemExit: It does not; the text ends with the tail of its log.
        """
        end = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with session.get(f"{self.url}/health") as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.5)
        msg = f"the server did not come up\n{self._log.read_text(errors='replace')[-10_000:]}"
        raise SystemExit(msg)

    def processor_seconds(self) -> float:
        """What it and its engine have used."""
        server = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (server, *server.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))

    def end(self) -> None:
        """Stop it, and kill what is left of it after a while."""
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def _serving(model: Path, more: Sequence[str], log: Path) -> Iterator[_Server]:
    server = _Server(model, more, log)
    try:
        yield server
    finally:
        server.end()


if __name__ == "__main__":
    main()
