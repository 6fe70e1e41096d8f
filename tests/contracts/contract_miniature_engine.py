"""The engine's side of the miniature: scheduling and configuration."""

from __future__ import annotations

ENGINE = {
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
    prefill_token_ids: list[int] | None = None

@dataclass
class CachedRequestData:
    req_ids: list[str]
    resumed_req_ids: set[str]
    num_computed_tokens: list[int]
    num_output_tokens: list[int]
    new_block_ids: list

    @classmethod
    def make_empty(cls):
        return cls([], set(), [], [], [])

@dataclass
class SchedulerOutput:
    scheduled_new_reqs: list[NewRequestData]
    scheduled_cached_reqs: CachedRequestData
    num_scheduled_tokens: dict[str, int]
    total_num_scheduled_tokens: int
    num_common_prefix_blocks: list[int]
    finished_req_ids: set[str]
    scheduled_encoder_inputs: dict
    scheduled_spec_decode_tokens: dict

    @classmethod
    def make_empty(cls):
        return cls([], CachedRequestData.make_empty(), {}, 0, [], set(), {}, {})
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
    kv_transfer_config: object = None
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
    data_parallel_size: int = Field(default=1, ge=1)
    worker_cls: str = "auto"
    distributed_executor_backend: str | None = None
""",
    "vllm/config/scheduler.py": """
@config
class SchedulerConfig:
    max_num_seqs: int = Field(default=128, ge=1)
    async_scheduling: bool | None = None

    def get_scheduler_cls(self) -> type[Scheduler]:
        return Scheduler
""",
    "vllm/config/model.py": """
@config
class ModelConfig:
    model: str = "a-model"
    dtype: str = "auto"

    def __post_init__(self):
        self.runner_type = self._get_runner_type()

    @property
    def has_inner_state(self) -> bool:
        return False

    def get_hidden_size(self) -> int:
        return self.model_arch_config.hidden_size
""",
    "vllm/v1/core/sched/scheduler.py": """
class Scheduler:
    def __init__(self, vllm_config, kv_cache_config):
        self.vllm_config = vllm_config
        self.requests: dict[str, Request] = {}
        self.kv_cache_manager = KVCacheManager()

    def schedule(self):
        return self.kv_cache_manager.allocate_slots(request, 1, num_lookahead_tokens=0)

    def update_from_output(self, scheduler_output, model_runner_output):
        return {}
""",
    "vllm/v1/core/kv_cache_manager.py": """
class KVCacheManager:
    def allocate_slots(self, request, num_new_tokens: int, num_lookahead_tokens: int = 0):
        return None
""",
    "vllm/v1/request.py": """
class Request:
    def __init__(self):
        self.num_computed_tokens = 0

    @property
    def num_tokens(self) -> int:
        return len(self._all_token_ids)
""",
    "vllm/engine/arg_utils.py": """
from dataclasses import dataclass, field

@dataclass
class EngineArgs:
    async_scheduling: bool | None = None
    additional_config: dict = field(default_factory=dict)

    def create_engine_config(self, usage_context=None):
        return VllmConfig()
""",
}
