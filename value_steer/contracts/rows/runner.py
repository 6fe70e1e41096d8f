"""The model runner and the batch it samples: where the two hooks sit."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import (
    Assigns,
    Calls,
    Exists,
    Fields,
    IsClass,
    Order,
    Parameters,
    Property,
)
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset({Runner.V1}), modes=frozenset(Mode))
_RUNNER = partial(_ROW, path="vllm/v1/worker/gpu_model_runner.py")

ROWS: tuple[Surface, ...] = (
    _ROW(
        id="cpu_runner.is_gpu_runner",
        path="vllm/v1/worker/cpu_model_runner.py",
        symbol="CPUModelRunner",
        need=IsClass(bases=("GPUModelRunner",)),
        used_by="value_steer.engine.hooks.install",
        why="On CPU the same hooks are used because the runner is the same.",
    ),
    _RUNNER(
        id="runner.state",
        symbol="GPUModelRunner",
        need=Assigns(("model", "sampler", "input_batch", "device", "kv_cache_config")),
        used_by="value_steer.engine.hooks.install",
        why="The sampler is replaced in place, and the batch says whose row is whose.",
    ),
    _RUNNER(
        id="runner.get_model",
        symbol="GPUModelRunner.get_model",
        need=Parameters(),
        used_by="value_steer.engine.hooks.install",
        why="The tap goes onto the model itself, under any CUDA graph wrapper.",
    ),
    _ROW(
        id="cuda_graph_wrapper.delegates",
        path="vllm/compilation/cuda_graph.py",
        symbol="CUDAGraphWrapper.__getattr__",
        need=Exists(),
        used_by="value_steer.engine.hooks.install",
        why="The runner reaches the tapped compute_logits through this wrapper.",
    ),
    _ROW(
        id="ubatch_wrapper.delegates",
        path="vllm/v1/worker/gpu_ubatch_wrapper.py",
        symbol="UBatchWrapper.__getattr__",
        need=Exists(),
        used_by="value_steer.engine.hooks.install",
        why="The runner reaches the tapped compute_logits through this wrapper.",
    ),
    _RUNNER(
        id="runner.computes_logits",
        symbol="GPUModelRunner.execute_model",
        need=Calls("self.model.compute_logits", positional=1),
        used_by="value_steer.engine.hooks.FeatureTap.__call__",
        why="The feature is the argument of this call.",
    ),
    _RUNNER(
        id="runner.calls_sampler",
        symbol="GPUModelRunner._sample",
        need=Calls("self.sampler", keywords=("logits", "sampling_metadata")),
        used_by="value_steer.engine.hooks.SteeredSampler.__call__",
        why="The decision is taken in this call, on its logits.",
    ),
    _RUNNER(
        id="runner.masks_before_sampling",
        symbol="GPUModelRunner.sample_tokens",
        need=Order("apply_grammar_bitmask", "self._sample"),
        used_by="value_steer.engine.abstain.StopTokens.read",
        why="The logits tell whether the grammar lets a row end only once they are masked.",
    ),
    _RUNNER(
        id="runner.samples_before_bookkeeping",
        symbol="GPUModelRunner.sample_tokens",
        need=Order("self._sample", "self._bookkeeping_sync"),
        used_by="value_steer.engine.abstain.StopTokens.force",
        why="A replaced token must be the one that is booked and fed back.",
    ),
    _RUNNER(
        id="runner.samples_before_promise",
        symbol="GPUModelRunner.sample_tokens",
        need=Order("self._sample", "AsyncGPUModelRunnerOutput"),
        used_by="value_steer.engine.abstain.StopTokens.force",
        why="With asynchronous scheduling a replaced token must be the one that is copied out.",
    ),
    _ROW(
        id="input_batch.req_ids",
        path="vllm/v1/worker/gpu_input_batch.py",
        symbol="InputBatch.req_ids",
        need=Property(),
        used_by="value_steer.engine.assembly._row_ids",
        why="It names the request of each sampled row, in row order.",
    ),
    _ROW(
        id="kv_cache_config.groups",
        runners=frozenset(Runner),
        path="vllm/v1/kv_cache_interface.py",
        symbol="KVCacheConfig",
        need=Fields(("kv_cache_groups",)),
        used_by="value_steer.engine.self_test.run",
        why="The synthetic request holds one block per group.",
    ),
)
