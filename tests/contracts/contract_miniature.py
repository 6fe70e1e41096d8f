"""A vLLM in miniature: the shapes that the rows need, in a few lines per file."""

from __future__ import annotations

from tests.contracts.contract_trees import MemoryTree

MINIATURE = MemoryTree(
    {
        "vllm/__init__.py": "from .version import __version__\n",
        "vllm/version.py": '__version__ = "0.0.0"\n',
        "vllm/_version.py": '__version__ = version = "0.0.0"\n',
        "vllm/platforms/__init__.py": """
from typing import TYPE_CHECKING
from .interface import Platform

if TYPE_CHECKING:
    current_platform: Platform

def __getattr__(name):
    return detect(name)
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

def get_tp_group() -> GroupCoordinator:
    return _TP
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
        "vllm/v1/worker/gpu_model_runner.py": """
class GPUModelRunner:
    def __init__(self, vllm_config, device):
        self.device = device
        self.sampler = Sampler()
        self.input_batch = InputBatch()

    def load_model(self):
        self.model = get_model_loader().load_model()

    def initialize_kv_cache(self, kv_cache_config):
        self.kv_cache_config = kv_cache_config

    def get_model(self):
        return self.model

    def execute_model(self, scheduler_output, intermediate_tensors=None):
        hidden_states = self.forward(scheduler_output)
        self.logits = self.model.compute_logits(hidden_states)

    def sample_tokens(self, grammar_output):
        if grammar_output is not None:
            apply_grammar_bitmask(grammar_output, self.logits)
        sampler_output = self._sample(self.logits, None)
        return self._bookkeeping_sync(sampler_output)

    def _sample(self, logits, spec_decode_metadata):
        metadata = self.input_batch.sampling_metadata
        return self.sampler(logits=logits, sampling_metadata=metadata)
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
class InputBatch:
    @property
    def req_ids(self) -> list[str]:
        return self._req_ids
""",
        "vllm/v1/kv_cache_interface.py": """
@dataclass
class KVCacheConfig:
    num_blocks: int
    kv_cache_groups: list
""",
        "vllm/v1/sample/sampler.py": """
import torch.nn as nn

class Sampler(nn.Module):
    def forward(self, logits, sampling_metadata, predict_bonus_token=False):
        return SamplerOutput(logits.argmax(-1), None)
""",
        "vllm/v1/outputs.py": """
from dataclasses import dataclass, field
from typing import NamedTuple

class LogprobsTensors(NamedTuple):
    logprob_token_ids: torch.Tensor
    logprobs: torch.Tensor
    selected_token_ranks: torch.Tensor
    cu_num_generated_tokens: list[int] | None = None

@dataclass
class SamplerOutput:
    sampled_token_ids: torch.Tensor
    logprobs_tensors: LogprobsTensors | None

@dataclass
class ModelRunnerOutput:
    req_ids: list[str]
    sampled_token_ids: list[list[int]] = field(default_factory=list)

class AsyncModelRunnerOutput:
    def get_output(self) -> ModelRunnerOutput:
        return self.output
""",
        "vllm/sampling_params.py": """
import msgspec

class SamplingParams(msgspec.Struct, dict=True):
    temperature: float = 1.0
    max_tokens: int | None = 16
    min_tokens: int = 0
    ignore_eos: bool = False
    stop_token_ids: list[int] | None = None
    structured_outputs: object = None
    logprobs: int | None = None
    extra_args: dict | None = None
    _eos_token_id: int | None = None

    @property
    def eos_token_id(self):
        return self._eos_token_id
""",
        "vllm/v1/core/sched/output.py": """
from dataclasses import dataclass, field

@dataclass
class NewRequestData:
    req_id: str
    prompt_token_ids: list[int] | None
    mm_features: list
    sampling_params: object
    pooling_params: object
    block_ids: tuple
    num_computed_tokens: int
    lora_request: object
    prompt_embeds: object = None

@dataclass
class CachedRequestData:
    req_ids: list[str]
    resumed_req_ids: set[str]
    num_computed_tokens: list[int]
    num_output_tokens: list[int]

    @classmethod
    def make_empty(cls):
        return cls([], set(), [], [])

@dataclass
class SchedulerOutput:
    scheduled_new_reqs: list[NewRequestData]
    scheduled_cached_reqs: CachedRequestData
    num_scheduled_tokens: dict[str, int]
    total_num_scheduled_tokens: int
    num_common_prefix_blocks: list[int]
    finished_req_ids: set[str]

    @classmethod
    def make_empty(cls):
        return cls([], CachedRequestData.make_empty(), {}, 0, [], set())
""",
        "vllm/v1/core/sched/utils.py": """
def check_stop(request, max_model_len):
    sampling_params = request.sampling_params
    if request.num_output_tokens < sampling_params.min_tokens:
        return False
    last_token_id = request.output_token_ids[-1]
    if last_token_id == sampling_params.eos_token_id:
        return True
    return last_token_id in (sampling_params.stop_token_ids or ())
""",
        "vllm/config/__init__.py": """
from vllm.config.model import ModelConfig
from vllm.config.vllm import VllmConfig
""",
        "vllm/config/vllm.py": """
@config
class VllmConfig:
    model_config: ModelConfig = None
    parallel_config: ParallelConfig = Field(default_factory=ParallelConfig)
    scheduler_config: SchedulerConfig = Field(default_factory=SchedulerConfig)
    speculative_config: object = None
    additional_config: dict = Field(default_factory=dict)

    @property
    def use_v2_model_runner(self) -> bool:
        return False
""",
        "vllm/config/parallel.py": """
@config
class ParallelConfig:
    pipeline_parallel_size: int = Field(default=1, ge=1)
    tensor_parallel_size: int = Field(default=1, ge=1)
    worker_cls: str = "auto"
""",
        "vllm/config/scheduler.py": """
@config
class SchedulerConfig:
    max_num_seqs: int = Field(default=128, ge=1)
""",
        "vllm/config/model.py": """
@config
class ModelConfig:
    def __post_init__(self):
        self.runner_type = self._get_runner_type()

    def get_hidden_size(self) -> int:
        return self.model_arch_config.hidden_size
""",
    }
)
