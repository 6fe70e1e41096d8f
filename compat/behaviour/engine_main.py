"""Run one engine and answer requests over an inherited socket, one JSON object per line.

The engine has a process of its own (``python -m compat.behaviour.engine_main FD``, or a forked
one): a crash is an observation, not the end of the suite.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import sys
import time
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from compat.behaviour.messages import CACHE_TOKENS, SMALLEST, Answer, Scheduling
from compat.behaviour.operations import EVENTS, converse, params_of, prompt_of, search_beams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vllm import LLM, RequestOutput
    from vllm.lora.request import LoRARequest


_SCHEDULED = itertools.count()


def serve(channel: socket.socket) -> None:
    """Boot the engine that the first line describes, then answer one line per call."""
    with channel, channel.makefile("rw", encoding="utf-8") as lines:
        engine = _boot(json.loads(lines.readline()))
        _send(lines, {"value": "ready"})
        for line in lines:
            _send(lines, _reply(engine, json.loads(line)))


def _reply(engine: LLM, call: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": _CALLS[call["call"]](engine, call)}
    except Exception:  # noqa: BLE001  (it is the test that decides what an engine's error means)
        return {"error": traceback.format_exc()}


def _boot(options: dict[str, Any]) -> LLM:
    from vllm import LLM

    if options.get("block_size") == SMALLEST:
        options["block_size"] = _smallest_block()
    if tokens := options.pop(CACHE_TOKENS, None):
        block = options.get("block_size") or _usual_block()
        options.setdefault("num_gpu_blocks_override", tokens // block)
    if not {"tensor_parallel_size", "pipeline_parallel_size"} & options.keys():
        options["distributed_executor_backend"] = _one_process()
    return LLM(**options)


def _one_process() -> type:
    """Runs the model where the engine is.

    By name ("uni") some releases refuse it on a CPU, and import vLLM anew in another process.
    """
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    return UniProcExecutor


def _usual_block() -> int:
    """Tokens in a cache block where no size is asked for."""
    from vllm.platforms import current_platform

    return 128 if current_platform.is_cpu() else 16


def _smallest_block() -> int:
    """Tokens in the smallest cache block, from 16 on, that the host's attention takes."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return 16
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    multiples = CPUAttentionBackend.get_supported_kernel_block_sizes()
    return max(16, *(getattr(multiple, "base", multiple) for multiple in multiples))


def _generate(engine: LLM, call: dict[str, Any]) -> list[dict[str, Any]]:
    with contextlib.nullcontext() if call["checked"] else _unchecked():
        outputs = _outputs(engine, call)
    return [asdict(_answer(output)) for output in outputs]


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """Let requests through as a process does in which value-steer was not loaded."""
    from value_steer.engine import frontend

    checks = dict(frontend._CHECKS)  # noqa: SLF001  (no other way to be such a process)
    frontend._CHECKS.clear()  # noqa: SLF001
    try:
        yield
    finally:
        frontend._CHECKS.update(checks)  # noqa: SLF001


def _generate_many(engine: LLM, call: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [
        [asdict(_answer(output, index)) for index in range(len(output.outputs))]
        for output in _outputs(engine, call)
    ]


def _time(engine: LLM, call: dict[str, Any]) -> dict[str, Any]:
    """How long a batch takes, without what it costs to report it."""
    host, asked = engine.llm_engine, call["requests"]
    began, used = time.perf_counter(), time.process_time()
    for request in asked:
        prompt = prompt_of(engine, request)
        host.add_request(f"{next(_SCHEDULED)}timed", prompt, params_of(request))
    seen: dict[str, int] = {}
    last: dict[str, float] = {}
    first: list[float] = []
    between: list[float] = []
    while host.has_unfinished_requests():
        outputs = host.step()
        now = time.perf_counter()
        for output in outputs:
            name, tokens = output.request_id, len(output.outputs[0].token_ids)
            if tokens > seen.get(name, 0):
                (between if name in last else first).append(now - last.get(name, began))
                seen[name], last[name] = tokens, now
    return {
        "seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time() - used,
        "tokens": sum(seen.values()),
        "first": first,
        "between": between,
    }


def _run_schedule(engine: LLM, call: dict[str, Any]) -> list[list[int]]:
    """Let requests arrive and go at given steps."""
    host = engine.llm_engine
    arrivals = call["arrivals"]
    names = [f"{next(_SCHEDULED)}scheduled" for _ in arrivals]
    tokens: dict[str, list[int]] = {name: [] for name in names}
    events = call["events"]
    last = max(max(arrival["at"], arrival["aborted_at"] or 0) for arrival in arrivals)
    last = max([last, *(event["at"] for event in events)])
    step = 0
    while step <= last or host.has_unfinished_requests():
        for event in events:
            if event["at"] == step:
                EVENTS[event["what"]](engine, event["argument"])
        for name, arrival in zip(names, arrivals, strict=True):
            if arrival["at"] == step:
                request = arrival["request"]
                host.add_request(name, prompt_of(engine, request), params_of(request))
            if arrival["aborted_at"] == step:
                host.abort_request([name])
        for output in host.step():
            tokens[output.request_id] = list(output.outputs[0].token_ids)
        step += 1
    return [tokens[name] for name in names]


def _outputs(engine: LLM, call: dict[str, Any]) -> list[RequestOutput]:
    requests = call["requests"]
    prompts = [prompt_of(engine, request) for request in requests]
    params = [params_of(request) for request in requests]
    adapters = [_adapter(request["adapter"]) for request in requests]
    return engine.generate(prompts, params, use_tqdm=False, lora_request=adapters)


def _adapter(folder: str | None) -> LoRARequest | None:
    from vllm.lora.request import LoRARequest

    return None if folder is None else LoRARequest("adapter", 1, folder)


def _answer(output: RequestOutput, index: int = 0) -> Answer:
    one = output.outputs[index]
    logprobs, of_prompt = one.logprobs, output.prompt_logprobs
    return Answer(
        request_id=output.request_id,
        tokens=list(one.token_ids),
        finish_reason=one.finish_reason,
        stop_reason=one.stop_reason,
        logprobs=logprobs and [_plain(row) for row in logprobs],
        prompt_logprobs=of_prompt and [_plain(row or {}) for row in of_prompt],
    )


def _plain(row: dict[int, Any]) -> dict[str, float]:
    return {str(token): entry.logprob for token, entry in row.items()}


def _rpc(engine: LLM, call: dict[str, Any]) -> Any:
    return engine.collective_rpc(call["method"])


def _runner(engine: LLM, _: dict[str, Any]) -> str:
    from value_steer.engine.host import runner_kind

    return runner_kind(engine.llm_engine.vllm_config)


def _scheduling(engine: LLM, _: dict[str, Any]) -> dict[str, Any]:
    from vllm.platforms import current_platform
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler

    host = engine.llm_engine
    core: Any = host.engine_core.engine_core  # in this process, whichever its workers run in
    found = Scheduling(
        device=current_platform.device_type,
        asynchronous=host.vllm_config.scheduler_config.async_scheduling,
        queued=core.batch_queue is not None,
        ahead=isinstance(core.scheduler, AsyncScheduler),
    )
    return asdict(found)


def _preemptions(engine: LLM, _: dict[str, Any]) -> int:
    return _total(engine, "vllm:num_preemptions")


def _drafts(engine: LLM, _: dict[str, Any]) -> tuple[int, int]:
    names = ("vllm:spec_decode_num_draft_tokens", "vllm:spec_decode_num_accepted_tokens")
    drafted, accepted = (_total(engine, name) for name in names)
    return drafted, accepted


def _total(engine: LLM, name: str) -> int:
    return sum(m.value for m in engine.get_metrics() if m.name == name)


def _send(lines: Any, reply: object) -> None:
    lines.write(json.dumps(reply) + "\n")
    lines.flush()


_CALLS = {
    "generate": _generate,
    "generate_many": _generate_many,
    "run_schedule": _run_schedule,
    "converse": converse,
    "search_beams": search_beams,
    "time": _time,
    "rpc": _rpc,
    "runner": _runner,
    "scheduling": _scheduling,
    "preemptions": _preemptions,
    "drafts": _drafts,
}

if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
