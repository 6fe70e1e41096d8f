"""All watches: what other software binds to at these seams, and value-steer does not."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.watch import Place, Watch, arguments, fields, has_field, returned

_ATTENTION = "vllm/v1/attention"
_CACHE = "vllm/v1/kv_cache_interface.py"
_RUNNER = "vllm/v1/worker/gpu_model_runner.py"
_RUNNER_V2 = "vllm/v1/worker/gpu/model_runner.py"
# From 0.29 on one function gives the shape for every attention backend.
_ANY_SHAPE = Place(_CACHE, "compute_layer_kv_cache_shape_bytes")

WATCHES: tuple[Watch, ...] = (
    Watch(
        id="flash_attention.kv_shape",
        places=(
            Place(
                f"{_ATTENTION}/backends/flash_attn.py", "FlashAttentionBackend.get_kv_cache_shape"
            ),
            _ANY_SHAPE,
        ),
        look=returned,
        why="The cache is never read or written: candidates run through the runner's own steps.",
    ),
    Watch(
        id="cpu_attention.kv_shape",
        places=(
            Place(f"{_ATTENTION}/backends/cpu_attn.py", "CPUAttentionBackend.get_kv_cache_shape"),
            _ANY_SHAPE,
        ),
        look=returned,
        why="The cache is never read or written: candidates run through the runner's own steps.",
    ),
    Watch(
        id="kv_cache_tensor.fields",
        places=(Place(_CACHE, "KVCacheTensor"),),
        look=fields,
        why="The cache is never enlarged: a candidate is run in its request's own slot.",
    ),
    Watch(
        id="runner.initialize_kv_cache",
        places=(Place(_RUNNER, "GPUModelRunner.initialize_kv_cache"),),
        look=arguments,
        why="The runner makes its cache undisturbed: the method is not overridden.",
    ),
    Watch(
        id="runner_v2.initialize_kv_cache",
        places=(Place(_RUNNER_V2, "GPUModelRunner.initialize_kv_cache"),),
        look=arguments,
        why="The runner makes its cache undisturbed: the method is not overridden.",
    ),
    Watch(
        id="execute_model_state_v2.logits",
        places=(Place(_RUNNER_V2, "ExecuteModelState"),),
        look=partial(has_field, name="logits"),
        why="Under V2 a step run ahead is judged by its hidden states; its second call makes the "
        "logits.",
    ),
    Watch(
        id="common_attention_metadata.fields",
        places=(Place(f"{_ATTENTION}/backend.py", "CommonAttentionMetadata"),),
        look=fields,
        why="A step run ahead goes through the runner's own execute_model, which makes them.",
    ),
    Watch(
        id="block_table.compute_slot_mapping",
        places=(Place("vllm/v1/worker/block_table.py", "BlockTable.compute_slot_mapping"),),
        look=arguments,
        why="The runner finds the slot of a token itself, that of a redrawn token included.",
    ),
    Watch(
        id="worker.copy_kv_cache_blocks",
        places=(Place("vllm/v1/worker/utils.py", "copy_kv_cache_blocks_inplace"),),
        look=arguments,
        why="No block is copied: a candidate overwrites the one before it.",
    ),
)
