"""Model Runner V2 in miniature."""

from __future__ import annotations

RUNNER_V2 = {
    "vllm/v1/worker/gpu/kv_connector.py": """
class KVConnector:
    def set_disabled(self, disabled):
        pass
""",
    "vllm/v1/worker/gpu/model_runner.py": """
class GPUModelRunner:
    def __init__(self, vllm_config, device):
        self.device = device
        self.req_states = RequestState()
        self.sampler: Sampler | None = None

    def load_model(self):
        self.model = get_model_loader().load_model()
        self.sampler = Sampler(self.req_states)
        self.model_memory_usage = 0
        self.kv_connector = KVConnector()

    def initialize_kv_cache(self, kv_cache_config):
        self.kv_cache_config = kv_cache_config

    def get_model(self):
        return self.model

    def prepare_inputs(self, scheduler_output):
        return combine(
            list(scheduler_output.num_scheduled_tokens),
            self.req_states.last_sampled_tokens,
            self.req_states.num_computed_tokens.gpu,
        )

    def sample(self, hidden_states, input_batch, grammar_output):
        logits = self.model.compute_logits(hidden_states[input_batch.logits_indices])
        if grammar_output is not None:
            self.structured_outputs_worker.apply_grammar_bitmask(logits, input_batch)
        return self.sampler(logits, input_batch)

    def execute_model(self, scheduler_output, intermediate_tensors=None, dummy_run=False):
        input_batch = self.prepare_inputs(scheduler_output)
        self.hidden_states = self.model(input_batch)

    def sample_tokens(self, grammar_output):
        sampler_output = self.sample(self.hidden_states, self.input_batch, grammar_output)
        return AsyncOutput(sampler_output)
""",
    "vllm/v1/worker/gpu/input_batch.py": """
from dataclasses import dataclass

@dataclass
class InputBatch:
    req_ids: list[str]

@triton.jit
def _post_update_kernel(
    req_state_idx, token_ptr, all_token_ids_ptr, all_token_ids_stride, total_len_ptr
):
    i, token_id = 0, tl.load(token_ptr)
    tl.store(total_len_ptr + req_state_idx, total_len + num_sampled)
    tl.store(all_token_ids_ptr + req_state_idx * all_token_ids_stride + total_len + i, token_id)
    tl.store(token_ptr, count + 1)
    num_computed += query_len - num_rejected

def post_update(
    idx_mapping,
    num_computed_tokens,
    last_sampled_tokens,
    output_bin_counts,
    sampled_tokens,
    num_sampled,
    all_token_ids,
    total_len,
):
    _post_update_kernel[(1,)](idx_mapping)
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
