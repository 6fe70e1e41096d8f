"""A host whose warm-up makes steps of its own, as vLLM's worker on an accelerator does.

It calls the worker's own two methods of a step before anything is steered (``warmup_kernels`` of
``vllm/v1/worker/gpu/warmup.py``), with requests that no scheduler has announced.
"""

from __future__ import annotations

from typing import Any

from vllm.sampling_params import SamplingParams
from vllm.v1.core.sched.output import CachedRequestData, NewRequestData, SchedulerOutput

from value_steer.engine.host import worker_base
from value_steer.worker import ValueSteerWorker

_REQUEST = "_warmup_0_"


class WarmingWorker(ValueSteerWorker):
    """value-steer's worker on such a host."""


def _step(groups: int) -> SchedulerOutput:
    step = SchedulerOutput.make_empty()
    step.num_common_prefix_blocks = [0] * groups
    return step


def _prefill(groups: int) -> SchedulerOutput:
    request = NewRequestData(
        req_id=_REQUEST,
        prompt_token_ids=[0, 1],
        mm_features=[],
        sampling_params=SamplingParams(temperature=0.0, max_tokens=2),
        pooling_params=None,
        block_ids=tuple([1] for _ in range(groups)),
        num_computed_tokens=0,
        lora_request=None,
    )
    request.prefill_token_ids = [0, 1]  # what Model Runner V2 reads
    step = _step(groups)
    step.scheduled_new_reqs = [request]
    step.num_scheduled_tokens = {_REQUEST: 2}
    step.total_num_scheduled_tokens = 2
    return step


def _decode(groups: int) -> SchedulerOutput:
    cached = CachedRequestData.make_empty()
    cached.req_ids = [_REQUEST]
    cached.num_computed_tokens = [2]
    cached.num_output_tokens = [1]
    cached.new_block_ids = [None]
    step = _step(groups)
    step.scheduled_cached_reqs = cached
    step.num_scheduled_tokens = {_REQUEST: 1}
    step.total_num_scheduled_tokens = 1
    return step


def _clean_up(groups: int) -> SchedulerOutput:
    step = _step(groups)
    step.finished_req_ids = {_REQUEST}
    return step


def _with_steps(warm_up: Any) -> Any:
    def compile_or_warm_up_model(worker: Any) -> Any:
        result = warm_up(worker)
        groups = len(worker.model_runner.kv_cache_config.kv_cache_groups)
        for step in (_prefill(groups), _decode(groups)):
            if worker.execute_model(step) is None:
                worker.sample_tokens(None)
        worker.execute_model(_clean_up(groups))
        return result

    return compile_or_warm_up_model


_HOST: Any = worker_base()
_HOST.compile_or_warm_up_model = _with_steps(_HOST.compile_or_warm_up_model)
