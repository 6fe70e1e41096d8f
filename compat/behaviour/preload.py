"""What every forked engine has imported already."""

from vllm import LLM, SamplingParams

__all__ = ["LLM", "SamplingParams"]
