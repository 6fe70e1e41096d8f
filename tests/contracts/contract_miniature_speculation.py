"""Speculative decoding of a vLLM in miniature."""

from __future__ import annotations

SPECULATION = {
    "vllm/config/speculative.py": """
@config
class SpeculativeConfig:
    num_speculative_tokens: int = Field(default=None, gt=0)
    method: str | None = None
""",
    "vllm/v1/sample/rejection_sampler.py": """
import torch.nn as nn

PLACEHOLDER_TOKEN_ID = -1

class RejectionSampler(nn.Module):
    def __init__(self, sampler):
        super().__init__()
        self.sampler = sampler

    def forward(self, metadata, draft_probs, logits, sampling_metadata):
        return self.verified(metadata, draft_probs, logits, sampling_metadata)

    @staticmethod
    def parse_output(output_token_ids, vocab_size, discard_req_indices, logprobs_tensors=None):
        output_token_ids_np = output_token_ids.cpu().numpy()
        valid_mask = output_token_ids_np != PLACEHOLDER_TOKEN_ID
        if logprobs_tensors is not None:
            logprobs_tensors = logprobs_tensors.filter(valid_mask.flatten())
        return output_token_ids_np, logprobs_tensors
""",
}
