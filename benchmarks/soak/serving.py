"""The server of a soak, its processes and what they use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from prometheus_client.parser import text_string_to_metric_families

import compat.behaviour
from benchmarks.api_server import ApiServer
from benchmarks.soak import census
from benchmarks.soak.record import Usage
from compat.behaviour import heads, tiny_models
from compat.behaviour.engines import WORKER
from compat.behaviour.messages import LATE
from compat.behaviour.server import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import aiohttp

_CENSUS_TRIES = 300
_NAMES = ("EngineCore", "Worker")
"""In what vLLM calls its processes that do something."""
_FAILURES = re.compile(
    r"passed on without one|cannot be asked|does not say|not in .metrics|EngineDeadError"
)
"""Lines that a log has only where something failed."""


class SoakServer(ApiServer):
    """vLLM's server with asynchronous scheduling and a cache that is too small for its requests.

    Args:
        folder: For the model and the head.
        log: Receives its output.
        blocks: Size of the cache.
        plain: Whether it is one without value-steer.
        more: Further arguments of the server.
        sections: Of its ``additional_config``, beside those of the modes.

    Attributes:
        failures: Lines of its log that tell of a failure, as far as it was read.
        is_asynchronous: Whether the log says that the outputs of its steps are promises.
    """

    def __init__(  # noqa: PLR0913  (most have a default)
        self,
        folder: Path,
        log: Path,
        blocks: int,
        *,
        plain: bool = False,
        more: Sequence[str] = (),
        sections: Mapping[str, object] | None = None,
    ) -> None:
        self.failures: list[str] = []
        self.is_asynchronous = False
        self._read = 0
        self._folder = folder
        model = tiny_models.build("mistral", folder / "model")
        arguments = [
            *("--api-key", KEY, "--max-num-seqs", "64"),
            # Without it vLLM's CPU forgets all seeds in a batch that has one greedy row.
            "--use-fp64-gumbel",
            *("--block-size", "16", "--num-gpu-blocks-override", str(blocks)),
            *([] if plain else _steering(model, folder, sections or {})),
            *more,
        ]
        super().__init__(model, log, arguments, _found(folder))

    def session(self, headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
        """A client of it that knows its key."""
        return super().session({"Authorization": f"Bearer {KEY}", **(headers or {})})

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
        """Memory and processor time of its processes, the API server first."""
        found = []
        for name, process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():  # just ended
                times, resident = process.cpu_times(), process.memory_info().rss
                found.append(Usage(name, resident, times.user + times.system))
        return found

    async def census(self) -> dict[str, dict[str, int]]:
        """Count the live objects of value-steer in each process.

        Raises:
            TimeoutError: One does not say.
        """
        told = {}
        for name, process in self.processes():
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

    def family(self) -> list[psutil.Process]:
        """All of its processes."""
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """Those that serve, by name."""
        server = psutil.Process(self._process.pid)
        named = [("API server", server)]
        for process in server.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())
                named += [(name, process) for name in _NAMES if name in command]
        return named


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


def _steering(model: Path, folder: Path, sections: Mapping[str, object]) -> list[str]:
    head = str(heads.token_recognising(model, folder / "head.safetensors"))
    section = {"value_head_path": head, "threshold": 0.5}
    config = json.dumps({"abstain": section, "vfd": section, **sections})
    return [
        *("--worker-cls", WORKER, "--additional-config", config),
        *("--middleware", "value_steer.http.Steering"),
    ]


def _found(folder: Path) -> dict[str, str]:
    """Variables by which its processes find what the soak puts into them."""
    here, suite = Path(__file__).parent, Path(compat.behaviour.__file__).parent
    own = map(str, (here.parent.parent, here / "plugin", suite / "asynchronous"))
    found = os.pathsep.join(filter(None, (*own, os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": found, census.FOLDER: str(folder)}
