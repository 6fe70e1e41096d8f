"""What running candidates apart needs: a second batch, and cache blocks that no request owns."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Accepts, Assigns, Fields, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset({Runner.V1}), modes=frozenset({Mode.VFD}))
_RUNNER = partial(_ROW, path="vllm/v1/worker/gpu_model_runner.py", symbol="GPUModelRunner")
_BATCH = partial(_ROW, path="vllm/v1/worker/gpu_input_batch.py")
_POOL = partial(_ROW, path="vllm/v1/core/block_pool.py")

_SIDE = "value_steer.engine.side_batch.SideBatch"
_ALIKE = "value_steer.engine.side_batch._alike"
_PROBER = "value_steer.engine.assembly._prober"
_RESERVE = "value_steer.engine.lookahead._reserving"
_ASIDE = "value_steer.engine.spare_blocks.set_aside"

_SIDE_BATCH: tuple[Surface, ...] = (
    _BATCH(
        id="input_batch.made_alike",
        symbol="InputBatch.__init__",
        need=Accepts(("max_num_reqs", "logitsprocs")),
        used_by=_ALIKE,
        why="The second batch is made as the first one was, but for these two arguments.",
    ),
    _BATCH(
        id="input_batch.size_and_processors",
        symbol="InputBatch",
        need=Assigns(("max_num_reqs", "logitsprocs")),
        used_by=_ALIKE,
        why="The second batch has no more rows than the first, and processors of the same class.",
    ),
    _ROW(
        id="logits_processors.empty",
        path="vllm/v1/sample/logits_processor/__init__.py",
        symbol="LogitsProcessors.__init__",
        need=Parameters(),
        used_by=_ALIKE,
        why="Processors count the rows of the first batch, so the second one has none.",
    ),
    _RUNNER(
        id="runner.batch_and_requests",
        need=Assigns(("input_batch", "requests")),
        used_by=f"{_SIDE}._look",
        why="A step runs in the second batch while the runner has it in place of its own.",
    ),
    _BATCH(
        id="cached_request_state.copied",
        symbol="CachedRequestState",
        need=Fields(
            ("req_id", "sampling_params", "generator", "output_token_ids", "block_ids"),
            writable=True,
        ),
        used_by=f"{_SIDE}._shadow",
        why="A candidate is a copy of its request that ends in another token.",
    ),
)

_SPARE_BLOCKS: tuple[Surface, ...] = (
    _RUNNER(
        id="runner.kv_caches",
        need=Assigns(("kv_caches",)),
        used_by=_PROBER,
        why="The last block of a request is copied to a spare one, and back.",
    ),
    _ROW(
        id="kv_cache_config.num_blocks",
        path="vllm/v1/kv_cache_interface.py",
        symbol="KVCacheConfig",
        need=Fields(("num_blocks",)),
        used_by=_PROBER,
        why="It says which dimension of a cache is the block, and how many are spare.",
    ),
    _ROW(
        id="scheduler.kv_cache_config",
        path="vllm/v1/core/sched/scheduler.py",
        symbol="Scheduler",
        need=Assigns(("kv_cache_config",)),
        used_by=_RESERVE,
        why="A candidate needs one spare block in each of its groups.",
    ),
    _ROW(
        id="kv_cache_manager.block_pool",
        path="vllm/v1/core/kv_cache_manager.py",
        symbol="KVCacheManager",
        need=Assigns(("block_pool",)),
        used_by=_RESERVE,
        why="The spare blocks are taken out of it.",
    ),
    _POOL(
        id="block_pool.get_new_blocks",
        symbol="BlockPool.get_new_blocks",
        need=Parameters(("num_blocks",)),
        used_by=_ASIDE,
        why="Blocks that were given out are given to no request.",
    ),
    _POOL(
        id="block_pool.num_gpu_blocks",
        symbol="BlockPool",
        need=Assigns(("num_gpu_blocks",)),
        used_by=_ASIDE,
        why="The pool takes a block for used where it has fewer free ones than this.",
    ),
    _ROW(
        id="kv_cache_block.block_id",
        path="vllm/v1/core/kv_cache_utils.py",
        symbol="KVCacheBlock",
        need=Fields(("block_id",)),
        used_by=_ASIDE,
        why="Scheduler and worker must mean the same blocks.",
    ),
)

ROWS: tuple[Surface, ...] = (*_SIDE_BATCH, *_SPARE_BLOCKS)
