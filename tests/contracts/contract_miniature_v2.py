"""Model Runner V2 in miniature."""

from __future__ import annotations

RUNNER_V2 = {
    "vllm/v1/worker/gpu/kv_connector.py": """
class KVConnector:
    def set_disabled(self, disabled):
        pass
""",
    "vllm/v1/worker/gpu/model_runner.py": """
from typing import NamedTuple

class GPUModelRunner:
    def __init__(self, vllm_config, device):
        self.device = device
        self.req_states = RequestState()
        self.sampler: Sampler | None = None
        self.execute_model_state: ExecuteModelState | None = None

    def load_model(self):
        self.model = get_model_loader().load_model()
        self.sampler = Sampler(self.req_states)
        self.model_memory_usage = 0
        self.kv_connector = KVConnector()

    def initialize_kv_cache(self, kv_cache_config):
        self.kv_cache_config = kv_cache_config
        self.block_tables = BlockTables()

    def get_model(self):
        return self.model

    def finish_requests(self, scheduler_output):
        pass

    def free_states(self, scheduler_output):
        pass

    def add_requests(self, scheduler_output):
        pass

    def update_requests(self, scheduler_output):
        pass

    def prepare_inputs(self, scheduler_output):
        return InputBatch(list(scheduler_output.num_scheduled_tokens), None)

    def sample(self, hidden_states, input_batch, grammar_output):
        logits = self.model.compute_logits(hidden_states[input_batch.logits_indices])
        if grammar_output is not None:
            self.structured_outputs_worker.apply_grammar_bitmask(logits, input_batch)
        return self.sampler(logits, input_batch)

    def execute_model(self, scheduler_output, intermediate_tensors=None, dummy_run=False):
        self.finish_requests(scheduler_output)
        self.free_states(scheduler_output)
        self.add_requests(scheduler_output)
        self.update_requests(scheduler_output)
        self.block_tables.apply_staged_writes()
        input_batch = self.prepare_inputs(scheduler_output)
        self.execute_model_state = ExecuteModelState(input_batch, self.model(input_batch))

    def sample_tokens(self, grammar_output):
        state = self.execute_model_state
        sampler_output = self.sample(state.hidden_states, state.input_batch, grammar_output)
        return AsyncOutput(sampler_output)

class ExecuteModelState(NamedTuple):
    input_batch: InputBatch
    hidden_states: torch.Tensor | None
""",
    "vllm/v1/worker/gpu/input_batch.py": """
from dataclasses import dataclass

@dataclass
class InputBatch:
    req_ids: list[str]
    logits_indices: torch.Tensor
""",
    "vllm/v1/worker/gpu/block_table.py": """
class BlockTables:
    def __init__(self):
        self.num_blocks = UvaBackedTensor()

    def apply_staged_writes(self) -> None:
        pass
""",
    "vllm/v1/worker/gpu/buffer_utils.py": """
class UvaBackedTensor:
    def __init__(self):
        self.np = make_array()

class StagedWriteTensor:
    def __init__(self):
        self.gpu = make_tensor()
""",
    "vllm/v1/worker/gpu/states.py": """
class RequestState:
    def __init__(self):
        self.req_id_to_index: dict[str, int] = {}
        self.all_token_ids = StagedWriteTensor()
        self.last_sampled_tokens = make_tensor()
        self.total_len = StagedWriteTensor()
        self.num_computed_tokens = StagedWriteTensor()
""",
    "vllm/v1/worker/gpu/async_utils.py": """
from vllm.v1.outputs import AsyncModelRunnerOutput

class AsyncOutput(AsyncModelRunnerOutput):
    def get_output(self):
        return self.model_runner_output
""",
    "vllm/v1/worker/gpu/sample/sampler.py": """
class Sampler:
    def __init__(self, req_states, logprobs_mode="raw_logprobs"):
        self.logprobs_mode = logprobs_mode
        self.sampling_states = SamplingStates()
        self.penalties_state = PenaltiesState(req_states)

    def __call__(self, logits, input_batch):
        mapping = input_batch.idx_mapping
        sampled, _ = self.sample(logits, mapping, mapping, mapping.numpy(), 0, input_ids=None)
        return SamplerOutput(sampled, None)

    def sample(
        self, logits, expanded_idx_mapping, idx_mapping, idx_mapping_np, pos, input_ids
    ):
        return draw(logits, pos), logits
""",
    "vllm/v1/worker/gpu/sample/output.py": """
from dataclasses import dataclass

@dataclass
class SamplerOutput:
    sampled_token_ids: torch.Tensor
    logprobs_tensors: LogprobsTensors | None
""",
    "vllm/v1/worker/gpu/sample/penalties.py": """
class PenaltiesState:
    def __init__(self, req_states):
        self.output_bin_counts = make_tensor()
""",
    "vllm/v1/worker/gpu/sample/states.py": """
class SamplingStates:
    def __init__(self):
        self.seeds = UvaBackedTensor()
""",
}
