"""The scheduler in miniature, and what carries its messages and the outputs that it takes in."""

from __future__ import annotations

SCHEDULING = {
    "vllm/v1/core/sched/scheduler.py": """
class Scheduler:
    def __init__(self, vllm_config, kv_cache_config):
        self.vllm_config = vllm_config
        self.max_model_len = vllm_config.model_config.max_model_len
        self.requests: dict[str, Request] = {}
        self.running: list[Request] = []

    def add_request(self, request):
        self.requests[request.request_id] = request

    def schedule(self):
        for request in self.running:
            if (
                request.num_computed_tokens + 2 - request.num_output_placeholders
                >= request.num_prompt_tokens + request.max_tokens
            ):
                continue
            num_new_tokens = min(
                request.num_tokens_with_spec
                + request.num_output_placeholders
                - request.num_computed_tokens,
                self.max_model_len - 1 - request.num_computed_tokens,
            )
            if not self.allocate(request, num_new_tokens):
                self._preempt_request(request, 0.0)
        return self._make_cached_request_data(self.running)

    def _make_cached_request_data(self, running_reqs):
        all_token_ids, num_output_tokens = {}, []
        for req in running_reqs:
            req_id = req.request_id
            if req_id not in self.prev_step_scheduled_req_ids:
                all_token_ids[req_id] = req.all_token_ids.copy()
            num_output_tokens.append(req.num_output_tokens + req.num_output_placeholders)
        return all_token_ids, num_output_tokens

    def _preempt_request(self, request, timestamp):
        request.num_computed_tokens = 0

    def reset_prefix_cache(self, reset_running_requests=False):
        for request in self.running:
            self._preempt_request(request, 0.0)
            request.discard_latest_async_tokens = True
        return True

    def update_from_output(self, scheduler_output, model_runner_output):
        sampled_token_ids = model_runner_output.sampled_token_ids
        logprobs = model_runner_output.logprobs
        prompt_logprobs_dict = model_runner_output.prompt_logprobs_dict
        outputs = []
        for req_id in scheduler_output.num_scheduled_tokens:
            request = self.requests[req_id]
            req_index = model_runner_output.req_id_to_index[req_id]
            new_token_ids = sampled_token_ids[req_index] if sampled_token_ids else []
            if drafts := scheduler_output.scheduled_spec_decode_tokens.get(req_id):
                num_rejected = len(drafts) + 1 - len(new_token_ids)
                request.num_computed_tokens -= num_rejected
            if not new_token_ids:
                assert not prompt_logprobs_dict.get(req_id)
                continue
            new_token_ids, stopped = self._update_request_with_output(request, new_token_ids)
            if stopped:
                self._free_request(request)
            new_logprobs = logprobs.slice_request(req_index, len(new_token_ids))
            outputs.append(
                EngineCoreOutput(req_id, new_token_ids, new_logprobs, request.stop_reason)
            )
        return outputs

    def _update_request_with_output(self, request, new_token_ids):
        stopped = False
        for token in new_token_ids:
            request.append_output_token_ids(token)
            stopped = check_stop(request, self.max_model_len)
            if stopped:
                num_new = new_token_ids.index(token) + 1
                del new_token_ids[num_new:]
                break
        return new_token_ids, stopped

    def finish_requests(self, request_ids, finished_status):
        for request_id in request_ids:
            self._free_request(self.requests[request_id])

    def _free_request(self, request, delay_free_blocks=False):
        del self.requests[request.request_id]
""",
    "vllm/v1/core/sched/async_scheduler.py": """
from vllm.v1.core.sched.scheduler import Scheduler

class AsyncScheduler(Scheduler):
    def _update_after_schedule(self, scheduler_output):
        for req_id in scheduler_output.num_scheduled_tokens:
            request = self.requests[req_id]
            cur_num_spec_tokens = len(self.drafted(req_id))
            request.num_output_placeholders += 1 + cur_num_spec_tokens

    def _update_request_with_output(self, request, new_token_ids):
        new_token_ids, stopped = super()._update_request_with_output(request, new_token_ids)
        request.num_output_placeholders -= len(new_token_ids)
        self.kv_cache_manager.cache_blocks(
            request, request.num_computed_tokens - request.num_output_placeholders
        )
        return new_token_ids, stopped
""",
    "vllm/v1/request.py": """
class Request:
    def __init__(self, request_id, prompt_token_ids, sampling_params, arrival_time):
        self.request_id = request_id
        self.arrival_time = arrival_time
        self.prompt_token_ids = prompt_token_ids
        self.sampling_params = sampling_params
        self.stop_reason: int | str | None = None
        self.max_tokens = sampling_params.max_tokens
        self.num_prompt_tokens = len(prompt_token_ids)
        self.num_computed_tokens = 0
        self.num_output_placeholders = 0

    @property
    def num_output_tokens(self) -> int:
        return len(self._output_token_ids)

    def is_finished(self) -> bool:
        return self.status == FINISHED

    def get_finished_reason(self):
        return RequestStatus.get_finished_reason(self.status)
""",
    "vllm/v1/engine/__init__.py": """
import enum
import msgspec

FINISH_REASON_STRINGS = ("stop", "length", "abort")

class FinishReason(enum.IntEnum):
    def __str__(self):
        return FINISH_REASON_STRINGS[self.value]

class EngineCoreOutput(msgspec.Struct):
    request_id: str
    new_token_ids: list[int]
    stop_reason: int | str | None = None
""",
    "vllm/v1/engine/input_processor.py": """
class InputProcessor:
    def __init__(self, vllm_config):
        self.model_config = vllm_config.model_config

    def _validate_params(self, params):
        params.verify(self.model_config, self.tokenizer)

    def process_inputs(self, request_id, prompt, params, supported_tasks, resumable=False):
        arrival_time = time.time()
        return EngineCoreRequest(request_id, prompt, params, resumable, arrival_time=arrival_time)
""",
    "vllm/v1/engine/core.py": """
class EngineCore:
    def __init__(self, vllm_config):
        Scheduler = vllm_config.scheduler_config.get_scheduler_cls()
        self.scheduler = Scheduler(vllm_config)

    def step_with_batch_queue(self):
        batch_queue = self.batch_queue
        batch_queue.appendleft(self.scheduler.schedule())
        return self.scheduler.update_from_output(batch_queue.pop())

    def collective_rpc(self, method, timeout=None, args=(), kwargs=None):
        return self.model_executor.collective_rpc(method, timeout, args, kwargs)
""",
    "vllm/v1/executor/uniproc_executor.py": """
class UniProcExecutor:
    def collective_rpc(self, method, args=()):
        result = run_method(self.driver_worker, method, args)
        return promised(result) if isinstance(result, AsyncModelRunnerOutput) else result
""",
    "vllm/v1/executor/multiproc_executor.py": """
class WorkerProc:
    def enqueue_output(self, output):
        if isinstance(output, AsyncModelRunnerOutput):
            output = output.get_output()
        self.worker_response_mq.enqueue(output)
""",
    "vllm/distributed/device_communicators/shm_broadcast.py": """
class MessageQueue:
    def enqueue(self, obj, timeout=None):
        self.write(pickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL))
""",
}
