"""Modules that every forked process has imported already."""

import contextlib
import gc
import importlib

from vllm import LLM, SamplingParams
from vllm.platforms import current_platform

__all__ = ["LLM", "SamplingParams"]

_OF_A_BOOT = (
    "torch._inductor.fx_passes.joint_graph",
    "vllm.entrypoints.openai.api_server",
    "vllm.model_executor.model_loader.default_loader",
    "vllm.model_executor.models.llama",
    "vllm.model_executor.models.mistral",
    "vllm.v1.attention.backends.cpu_attn",
    "vllm.v1.core.sched.scheduler",
    "vllm.v1.executor.multiproc_executor",
    "vllm.v1.executor.uniproc_executor",
    "vllm.v1.worker.cpu_worker",
)
"""Modules that vLLM imports while an engine boots on a CPU: half of the boot.

On a GPU nobody has looked yet whether importing them leaves the device alone.
"""

if current_platform.is_cpu():
    for name in _OF_A_BOOT:
        # A release that has it elsewhere imports it when it boots.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)

# vLLM collects garbage five times in a boot; looking through what is imported here, which is none,
# was 15 % of a boot's CPU time.
gc.collect()
gc.freeze()
