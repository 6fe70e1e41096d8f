"""Engines that tests share: booted on demand, driven over a socket, ended when too many live."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from compat.behaviour import processes
from compat.behaviour.messages import (
    CACHE_TOKENS,
    Answer,
    EngineSpec,
    Request,
    Scheduling,
    Timing,
)
from compat.behaviour.processes import ForkedProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from compat.behaviour.messages import Arrival, Event
    from compat.behaviour.processes import EngineProcess

WORKER = os.environ.get("VALUE_STEER_SUITE_WORKER", "value_steer.worker.ValueSteerWorker")
"""The worker class under test; the negative control puts a dead one here."""

ASYNCHRONOUS = find_spec("cpu_async_standin") is not None
"""Whether a CPU is made to schedule as a GPU does by itself."""

GPUS = int(os.environ.get("VALUE_STEER_SUITE_GPUS", "0"))
"""GPUs that there are; 0 on a CPU."""

GRAPHS = os.environ.get("VALUE_STEER_SUITE_GRAPHS") == "1"
"""Whether engines compile the model and capture CUDA graphs, as they do by default."""

RANKS = int(os.environ.get("VALUE_STEER_SUITE_RANKS", "1"))
"""Over how many GPUs an engine is spread where a test does not say."""

_BOOT_SECONDS = 300
_CALL_SECONDS = 300
ONE_THREAD = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""Several engines share few cores: threads that wait for one another would spin on them."""
ENVIRONMENT = {
    **ONE_THREAD,
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process boots twice as fast
    "VLLM_NO_USAGE_STATS": "1",
}
"""Of every engine."""
SHARED_GPU = {"gpu_memory_utilization": 0.05, "kv_cache_memory_bytes": 1 << 28} if GPUS else {}
"""One engine would take nine tenths of it, and measure the others' share as its own."""

_OPTIONS = {
    **SHARED_GPU,
    **({"tensor_parallel_size": RANKS} if RANKS > 1 else {}),
    "enforce_eager": not GRAPHS,
    "dtype": "float32",
    "max_model_len": 512,
    "max_num_seqs": 8,
    CACHE_TOKENS: 8192,  # all requests at a time, and no more: zeroing it is a part of every boot
    "seed": 0,
    "disable_log_stats": True,
}


class EngineDiedError(Exception):
    """The engine's process ended or stopped answering; the text ends with the tail of its log."""


class EngineFailedError(Exception):
    """A call raised inside the engine; the text is its traceback."""


class Engine:
    """One engine in a process of its own."""

    def __init__(self, spec: EngineSpec, model: Path, log: Path) -> None:
        self._log = log
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_BOOT_SECONDS)
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        with theirs:
            self._process = _start(spec, theirs, log)
        self._exchange(_llm_options(spec, model))
        self._socket.settimeout(_CALL_SECONDS)

    def generate(self, requests: Sequence[Request], *, checked: bool = True) -> list[Answer]:
        """Answer all requests, submitted at once.

        Args:
            requests: The requests.
            checked: Off: they come from a process in which value-steer was not loaded.
        """
        asked = [*map(asdict, requests)]
        replies = self._exchange({"call": "generate", "requests": asked, "checked": checked})
        return [Answer(**reply) for reply in replies]

    def generate_many(self, requests: Sequence[Request]) -> list[list[Answer]]:
        """All answers to each request, of which it may ask for several (``n``)."""
        replies = self._exchange({"call": "generate_many", "requests": [*map(asdict, requests)]})
        return [[Answer(**reply) for reply in of_one] for of_one in replies]

    def run_schedule(
        self, arrivals: Sequence[Arrival], events: Sequence[Event] = ()
    ) -> list[list[int]]:
        """The tokens of each request, those of aborted ones as far as they had come."""
        call = {
            "call": "run_schedule",
            "arrivals": [*map(asdict, arrivals)],
            "events": [*map(asdict, events)],
        }
        tokens: list[list[int]] = self._exchange(call)
        return tokens

    def converse(self, chunks: Sequence[Request]) -> list[list[int]]:
        """The answers of a session to each chunk of its input, in one growing context."""
        call = {"call": "converse", "chunks": [*map(asdict, chunks)]}
        tokens: list[list[int]] = self._exchange(call)
        return tokens

    def search_beams(self, prompt: list[int], width: int, max_tokens: int) -> list[list[int]]:
        """The sequences that beam search finds, the prompt in them."""
        call = {"call": "search_beams", "prompt": prompt, "width": width, "tokens": max_tokens}
        tokens: list[list[int]] = self._exchange(call)
        return tokens

    def time(self, requests: Sequence[Request]) -> Timing:
        """Answer all requests, submitted at once, and say how long it took."""
        return Timing(**self._exchange({"call": "time", "requests": [*map(asdict, requests)]}))

    def outcomes(self) -> dict[str, dict[str, Any]]:
        """Outcomes of finished requests by the request id that the caller sees."""
        # The last requests are closed by the step after them.
        self.generate([Request([9, 9], {"max_tokens": 1, "extra_args": {"steer": False}})])
        replies = self._exchange({"call": "rpc", "method": "steer_outcomes"})[0]
        return {reply["request_id"].split("-")[0]: reply for reply in replies}

    def counters(self) -> dict[str, int]:
        """The process counters of the first worker."""
        return self._exchange({"call": "rpc", "method": "steer_counters"})[0]

    def runner(self) -> str:
        """The model runner the host built."""
        return self._exchange({"call": "runner"})

    def scheduling(self) -> Scheduling:
        """How it schedules."""
        return Scheduling(**self._exchange({"call": "scheduling"}))

    def preemptions(self) -> int:
        """How often the scheduler has preempted a request; needs ``disable_log_stats`` false."""
        return self._exchange({"call": "preemptions"})

    def drafts(self) -> tuple[int, int]:
        """Draft tokens so far, and how many were accepted; needs ``disable_log_stats`` false."""
        drafted, accepted = self._exchange({"call": "drafts"})
        return drafted, accepted

    def log(self) -> str:
        """The engine's log so far."""
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """End the engine: by itself, which also completes its log, or else by force."""
        with contextlib.suppress(OSError):  # what was left to send has nobody to read it
            self._lines.close()
        self._socket.close()
        self._process.end(patience=30)

    def _exchange(self, message: object) -> Any:
        try:
            self._lines.write(json.dumps(message) + "\n")
            self._lines.flush()
            reply = self._lines.readline()
        except OSError as error:
            raise self._died(str(error)) from error
        if not reply:
            why = "it closed the channel"
            raise self._died(why)
        body = json.loads(reply)
        if "error" in body:
            raise EngineFailedError(body["error"])
        return body["value"]

    def _died(self, why: str) -> EngineDiedError:
        self.close()
        return EngineDiedError(f"{why}\n{self.log()[-30_000:]}")


@dataclass
class EnginePool:
    """Boots engines on demand and keeps the last few used alive.

    Attributes:
        model_of: Where the model of a family lies.
        logs: Folder for the engines' logs.
        capacity: Engines alive at a time.
        boots: Seconds that each boot took, refused ones included.
        on_close: Called with every engine under test before it ends.
    """

    model_of: Callable[[str], Path]
    logs: Path
    on_close: Callable[[Engine], None]
    capacity: int = 9
    _alive: OrderedDict[str, tuple[EngineSpec, Engine]] = field(default_factory=OrderedDict)
    boots: list[float] = field(default_factory=list)

    def get(self, spec: EngineSpec) -> Engine:
        """The engine of this description, booted if it is not alive."""
        key = _key(spec)
        if key not in self._alive:
            while len(self._alive) >= self.capacity:
                self._close(next(iter(self._alive)))
            log = self.logs / f"engine-{len(self.boots)}.log"
            started = time.monotonic()
            try:
                self._alive[key] = (spec, Engine(spec, self.model_of(spec.model), log))
            finally:
                self.boots.append(time.monotonic() - started)
        self._alive.move_to_end(key)
        return self._alive[key][1]

    def discard(self, spec: EngineSpec) -> None:
        """End an engine if it is alive, such as one that has failed."""
        if (key := _key(spec)) in self._alive:
            self._close(key)

    def close(self) -> None:
        """End every engine."""
        for key in list(self._alive):
            self._close(key)

    def _close(self, key: str) -> None:
        spec, engine = self._alive.pop(key)
        if spec.additional_config and spec.worker is None:
            self.on_close(engine)
        engine.close()


class PlainEngine:
    """Plain vLLM, which says what steered engines are compared with.

    It answers the same batch alike, whatever its requests ask of value-steer, so that it is asked
    once.
    """

    def __init__(self, pool: EnginePool, spec: EngineSpec) -> None:
        self._pool = pool
        self._spec = spec
        self._answers: dict[str, list[Answer]] = {}

    def generate(self, requests: Sequence[Request]) -> list[Answer]:
        """As :meth:`Engine.generate`."""
        own = [
            Request(r.prompt, {k: v for k, v in r.params.items() if k != "extra_args"})
            for r in requests
        ]
        key = json.dumps([*map(asdict, own)], sort_keys=True)
        if key not in self._answers:
            self._answers[key] = self._pool.get(self._spec).generate(own)
        return self._answers[key]

    def generate_many(self, requests: Sequence[Request]) -> list[list[Answer]]:
        """As :meth:`Engine.generate_many`."""
        return self._pool.get(self._spec).generate_many(requests)

    def run_schedule(
        self, arrivals: Sequence[Arrival], events: Sequence[Event] = ()
    ) -> list[list[int]]:
        """As :meth:`Engine.run_schedule`."""
        return self._pool.get(self._spec).run_schedule(arrivals, events)


def _start(spec: EngineSpec, channel: socket.socket, log: Path) -> EngineProcess:
    if spec.new_interpreter:
        return processes.execute(channel, log, {**ENVIRONMENT, **spec.env})
    return ForkedProcess(log, ENVIRONMENT, spec.env, processes.serve_engine, channel)


def _key(spec: EngineSpec) -> str:
    return json.dumps(asdict(spec), sort_keys=True)


def _llm_options(spec: EngineSpec, model: Path) -> dict[str, Any]:
    options = {**_OPTIONS, "model": str(model), **spec.options}
    if spec.additional_config:
        options["worker_cls"] = spec.worker or WORKER
        options["additional_config"] = spec.additional_config
    return options
