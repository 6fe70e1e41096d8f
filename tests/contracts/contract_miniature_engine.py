"""The engine's side of the miniature: messages and configuration."""

from __future__ import annotations

from tests.contracts.contract_miniature_scheduling import SCHEDULING

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
    new_block_ids: list[list[int]]
    num_computed_tokens: list[int]
    num_output_tokens: list[int]
    all_token_ids: dict[str, list[int]]

    @classmethod
    def make_empty(cls):
        return cls([], set(), [], [], [], {})

@dataclass
class SchedulerOutput:
    scheduled_new_reqs: list[NewRequestData]
    scheduled_cached_reqs: CachedRequestData
    num_scheduled_tokens: dict[str, int]
    scheduled_spec_decode_tokens: dict[str, list[int]]
    total_num_scheduled_tokens: int
    num_common_prefix_blocks: list[int]
    finished_req_ids: set[str]

    @classmethod
    def make_empty(cls):
        return cls([], CachedRequestData.make_empty(), {}, {}, 0, [], set())
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
    instance_id: str = ""

    def __post_init__(self):
        if not self.instance_id:
            self.instance_id = random_uuid()[:5]

    @property
    def use_v2_model_runner(self) -> bool:
        return False
""",
    "vllm/config/parallel.py": """
@config
class ParallelConfig:
    pipeline_parallel_size: int = Field(default=1, ge=1)
    tensor_parallel_size: int = Field(default=1, ge=1)
    prefill_context_parallel_size: int = Field(default=1, ge=1)
    worker_cls: str = "auto"
    distributed_executor_backend: str | None = None
""",
    "vllm/config/scheduler.py": """
@config
class SchedulerConfig:
    max_num_seqs: int = Field(default=128, ge=1)
    scheduler_cls: str | type[object] | None = None
    async_scheduling: bool | None = None

    def get_scheduler_cls(self) -> type[Scheduler]:
        if self.scheduler_cls is None:
            return Scheduler
        return resolve_obj_by_qualname(self.scheduler_cls)
""",
    "vllm/config/model.py": """
@config
class ModelConfig:
    model: str = "a-model"
    dtype: str = "auto"
    max_model_len: int = Field(default=None, ge=-1)

    def __post_init__(self):
        self.runner_type = self._get_runner_type()
        self.hf_text_config = get_hf_text_config(self.hf_config)

    @property
    def has_inner_state(self) -> bool:
        return False

    def get_hidden_size(self) -> int:
        return self.model_arch_config.hidden_size
""",
    "vllm/engine/arg_utils.py": """
from dataclasses import dataclass

@dataclass
class EngineArgs:
    def __post_init__(self):
        load_general_plugins()

    def create_engine_config(self, usage_context=None):
        return VllmConfig()
""",
    **SCHEDULING,
}
