"""A vLLM in miniature: the shapes that the rows need, in a few lines per file."""

from __future__ import annotations

from tests.contracts.contract_miniature_engine import ENGINE
from tests.contracts.contract_miniature_server import SERVER
from tests.contracts.contract_miniature_speculation import SPECULATION
from tests.contracts.contract_miniature_v2 import RUNNER_V2
from tests.contracts.contract_trees import MemoryTree

MINIATURE = MemoryTree(
    {
        "vllm/__init__.py": "from .version import __version__\n",
        "vllm/version.py": '__version__ = "99.0.0"\n',
        "vllm/_version.py": '__version__ = version = "99.0.0"\n',
        "vllm/exceptions.py": """
class VLLMValidationError(ValueError):
    pass
""",
        "vllm/tokenizers/registry.py": """
def cached_tokenizer_from_config(model_config, **kwargs):
    return get(model_config)
""",
        "vllm/tokenizers/protocol.py": """
class TokenizerLike:
    def get_vocab(self):
        raise NotImplementedError
    def encode(self, text, truncation=None, max_length=None, add_special_tokens=True):
        raise NotImplementedError
""",
        "vllm/envs.py": """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    VLLM_USE_V2_MODEL_RUNNER: bool | None = None

environment_variables = {"VLLM_USE_V2_MODEL_RUNNER": read_flag}

def __getattr__(name):
    return environment_variables[name]()
""",
        "vllm/platforms/__init__.py": """
from typing import TYPE_CHECKING
from .interface import Platform

if TYPE_CHECKING:
    current_platform: Platform

def __getattr__(name):
    if name == "current_platform":
        return detect()
    raise AttributeError(name)
""",
        "vllm/platforms/interface.py": """
from typing import NamedTuple

class DeviceCapability(NamedTuple):
    major: int
    minor: int

class Platform:
    device_name: str

    def is_cpu(self) -> bool:
        return self.device_name == "cpu"

    @classmethod
    def get_device_capability(cls, device_id: int = 0):
        return None
""",
        "vllm/distributed/parallel_state.py": """
class GroupCoordinator:
    def broadcast(self, input_, src: int = 0):
        return input_

    @property
    def is_last_rank(self):
        return self.rank == self.last_rank

def get_tp_group() -> GroupCoordinator:
    return _TP

def get_pp_group() -> GroupCoordinator:
    return _PP
""",
        "vllm/v1/worker/worker_base.py": """
class WorkerBase:
    def __init__(self, vllm_config, local_rank, rank, distributed_init_method):
        self.vllm_config = vllm_config
        self.rank = rank

    def load_model(self):
        raise NotImplementedError

    def execute_model(self, scheduler_output):
        raise NotImplementedError
""",
        "vllm/v1/worker/gpu_worker.py": """
from vllm.v1.worker.gpu_model_runner import GPUModelRunner
from vllm.v1.worker.worker_base import WorkerBase

class Worker(WorkerBase):
    def __init__(
        self, vllm_config, local_rank, rank, distributed_init_method, is_driver_worker=False
    ):
        self.use_v2_model_runner = vllm_config.use_v2_model_runner

    def init_device(self):
        self.model_runner: GPUModelRunner = GPUModelRunner(self.vllm_config, self.device)

    def load_model(self, *, load_dummy_weights: bool = False):
        self.model_runner.load_model(load_dummy_weights=load_dummy_weights)

    def compile_or_warm_up_model(self):
        self.model_runner.warm_up()

    @torch.inference_mode()
    def execute_model(self, scheduler_output):
        return self.model_runner.execute_model(scheduler_output)

    @torch.inference_mode()
    def sample_tokens(self, grammar_output):
        return self.model_runner.sample_tokens(grammar_output)
""",
        "vllm/v1/worker/cpu_worker.py": """
from vllm.v1.worker.gpu_worker import Worker

class CPUWorker(Worker):
    def __init__(
        self, vllm_config, local_rank, rank, distributed_init_method, is_driver_worker=False
    ):
        super().__init__(vllm_config, local_rank, rank, distributed_init_method)

    def compile_or_warm_up_model(self):
        self.model_runner.warming_up_model()
""",
        "vllm/v1/worker/kv_connector_model_runner_mixin.py": """
def has_kv_transfer_group():
    return False
""",
        "vllm/v1/worker/gpu_model_runner.py": """
def has_kv_transfer_group():
    return False

class GPUModelRunner:
    def __init__(self, vllm_config, device):
        self.requests = {}
        self.device = device
        self.sampler = Sampler()
        self.rejection_sampler = RejectionSampler(self.sampler)
        self.input_batch = InputBatch()

    def load_model(self):
        self.model = get_model_loader().load_model()
        self.model_memory_usage = 0

    def initialize_kv_cache(self, kv_cache_config):
        self.kv_cache_config = kv_cache_config

    def get_model(self):
        return self.model

    def execute_model(self, scheduler_output, intermediate_tensors=None):
        self._update_states(scheduler_output)
        hidden_states = self.forward(scheduler_output)
        self.logits = self.model.compute_logits(hidden_states)

    def _update_states(self, scheduler_output):
        for req_state, num_output_tokens, resumed_token_ids in self.cached(scheduler_output):
            if req_state.prev_num_draft_len and self.use_async_scheduling:
                num_output_tokens -= req_state.prev_num_draft_len
            if num_output_tokens < len(req_state.output_token_ids):
                del req_state.output_token_ids[num_output_tokens:]
            if resumed_token_ids:
                req_state.output_token_ids = resumed_token_ids[-num_output_tokens:]

    def sample_tokens(self, grammar_output):
        if grammar_output is not None:
            apply_grammar_bitmask(grammar_output, self.logits)
        sampler_output = self._sample(self.logits, None)
        self._bookkeeping_sync(sampler_output)
        return AsyncGPUModelRunnerOutput(sampler_output)

    def _bookkeeping_sync(self, sampler_output):
        sampled_token_ids = sampler_output.sampled_token_ids
        self.input_batch.prev_sampled_token_ids = sampled_token_ids
        for req_idx, sampled_ids in enumerate(sampled_token_ids):
            start_idx = self.input_batch.num_tokens_no_spec[req_idx]
            end_idx = start_idx + len(sampled_ids)
            assert end_idx <= self.max_model_len
            req_state = self.requests[self.input_batch.req_ids[req_idx]]
            req_state.output_token_ids.extend(sampled_ids)

    def _sample(self, logits, spec_decode_metadata):
        metadata = self.input_batch.sampling_metadata
        if spec_decode_metadata is not None:
            return self.rejection_sampler(spec_decode_metadata, None, logits, metadata)
        return self.sampler(logits=logits, sampling_metadata=metadata)

    def _calc_spec_decode_metadata(self, num_draft_tokens, cu_num_scheduled_tokens):
        num_sampled_tokens = num_draft_tokens + 1
        return num_sampled_tokens
""",
        "vllm/v1/worker/cpu_model_runner.py": """
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

class CPUModelRunner(GPUModelRunner):
    pass
""",
        "vllm/v1/worker/gpu_ubatch_wrapper.py": """
class UBatchWrapper:
    def __getattr__(self, key):
        return getattr(self.runnable, key)
""",
        "vllm/compilation/cuda_graph.py": """
class CUDAGraphWrapper:
    def __getattr__(self, key):
        return getattr(self.runnable, key)
""",
        "vllm/v1/worker/gpu_input_batch.py": """
from dataclasses import dataclass

@dataclass
class CachedRequestState:
    generator: torch.Generator | None
    output_token_ids: list[int]

class InputBatch:
    def __init__(self):
        self.num_tokens_no_spec = make_array()

    @property
    def req_ids(self) -> list[str]:
        return self._req_ids
""",
        "vllm/v1/kv_cache_interface.py": """
@dataclass
class KVCacheConfig:
    kv_cache_groups: list
""",
        "vllm/v1/sample/sampler.py": """
import torch.nn as nn

class Sampler(nn.Module):
    def __init__(self):
        self.topk_topp_sampler = TopKTopPSampler()

    def forward(self, logits, sampling_metadata, predict_bonus_token=False):
        sampled = self.sample(logits, sampling_metadata)
        return SamplerOutput(sampled, self.gather_logprobs(logits, 1, token_ids=sampled))

    def sample(self, logits, sampling_metadata):
        if sampling_metadata.all_greedy:
            return self.greedy_sample(logits)
        return self.topk_topp_sampler(logits, sampling_metadata.generators, None, None)

    @staticmethod
    def greedy_sample(logits):
        return logits.argmax(dim=-1)

    @staticmethod
    def gather_logprobs(logprobs, num_logprobs, token_ids):
        return LogprobsTensors(token_ids, logprobs, token_ids)
""",
        "vllm/v1/sample/ops/topk_topp_sampler.py": """
import torch.nn as nn

class TopKTopPSampler(nn.Module):
    def forward_native(self, logits, generators, k, p):
        return draw(apply_top_k_top_p(logits, k, p), generators)

def apply_top_k_top_p(logits, k, p):
    return logits
""",
        "vllm/v1/outputs.py": """
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

class LogprobsTensors(NamedTuple):
    logprob_token_ids: torch.Tensor
    logprobs: torch.Tensor
    selected_token_ranks: torch.Tensor
    cu_num_generated_tokens: list[int] | None = None

class LogprobsLists(NamedTuple):
    logprob_token_ids: list
    logprobs: list
    sampled_token_ranks: list
    cu_num_generated_tokens: list[int] | None = None

    def slice_request(self, req_idx, num_positions):
        end_idx = req_idx + num_positions
        return LogprobsLists(
            self.logprob_token_ids[req_idx:end_idx],
            self.logprobs[req_idx:end_idx],
            self.sampled_token_ranks[req_idx:end_idx],
            None,
        )

@dataclass
class SamplerOutput:
    sampled_token_ids: torch.Tensor
    logprobs_tensors: LogprobsTensors | None

@dataclass
class ModelRunnerOutput:
    req_ids: list[str]
    req_id_to_index: dict[str, int]
    sampled_token_ids: list[list[int]] = field(default_factory=list)
    logprobs: LogprobsLists | None = None
    prompt_logprobs_dict: dict = field(default_factory=dict)

class AsyncModelRunnerOutput(ABC):
    @abstractmethod
    def get_output(self) -> ModelRunnerOutput:
        pass
""",
        "vllm/sampling_params.py": """
import msgspec

class SamplingParams(msgspec.Struct, dict=True):
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop: list[str] | None = None
    max_tokens: int | None = 16
    min_tokens: int = 0
    ignore_eos: bool = False
    stop_token_ids: list[int] | None = None
    structured_outputs: object = None
    logprobs: int | None = None
    extra_args: dict | None = None
    _eos_token_id: int | None = None

    def verify(self, model_config, tokenizer=None):
        self.verified = True

    @property
    def eos_token_id(self):
        return self._eos_token_id
""",
        **ENGINE,
        **RUNNER_V2,
        **SERVER,
        **SPECULATION,
    }
)
