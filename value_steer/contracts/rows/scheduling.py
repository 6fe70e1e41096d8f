"""What value filtering needs of the scheduler: a slot per request, and steps done again."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Accepts, Assigns, Calls, Fields, Parameters, Property
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset({Mode.VFD}))
_CACHE = partial(_ROW, path="vllm/v1/kv_cache_interface.py")
_SCHEDULER = partial(_ROW, path="vllm/v1/core/sched/scheduler.py")
_REQUEST = partial(_ROW, path="vllm/v1/request.py")
_ARGUMENTS = partial(_ROW, path="vllm/engine/arg_utils.py")

_SIZES = "value_steer.engine.assembly._value_filter"
_REPEAT = "value_steer.engine.repetition.repeating"
_REFUSE = "value_steer.engine.host.refuse_unfilterable"
_RESERVE = "value_steer.engine.lookahead._reserving"
_ALLOCATE = "value_steer.engine.lookahead._with_lookahead"
_SYNCHRONOUS = "value_steer.engine.lookahead._synchronous"

_SLOT: tuple[Surface, ...] = (
    _CACHE(
        id="kv_cache_group.spec",
        symbol="KVCacheGroupSpec",
        need=Fields(("kv_cache_spec",)),
        used_by=_SIZES,
        why="Each group has a block size of its own.",
    ),
    _CACHE(
        id="kv_cache_spec.block_size",
        symbol="KVCacheSpec",
        need=Fields(("block_size",)),
        used_by=_SIZES,
        why="A token without a slot must not be run.",
    ),
    _SCHEDULER(
        id="scheduler.state",
        symbol="Scheduler",
        need=Assigns(("vllm_config", "kv_cache_manager")),
        used_by=_RESERVE,
        why="The slot is reserved in the manager of engines that filter, and of no other.",
    ),
    _SCHEDULER(
        id="scheduler.allocates_with_lookahead",
        symbol="Scheduler.schedule",
        need=Calls("self.kv_cache_manager.allocate_slots", keywords=("num_lookahead_tokens",)),
        used_by=_ALLOCATE,
        why="Every allocation must ask for the slot of the token that is run ahead.",
    ),
    _ROW(
        id="kv_cache_manager.allocate_slots",
        path="vllm/v1/core/kv_cache_manager.py",
        symbol="KVCacheManager.allocate_slots",
        need=Accepts(("num_lookahead_tokens",)),
        used_by=_ALLOCATE,
        why="The slot is asked for by name, whatever else is.",
    ),
    _ARGUMENTS(
        id="engine_args.fields",
        symbol="EngineArgs",
        need=Fields(("additional_config", "async_scheduling"), writable=True),
        used_by=_SYNCHRONOUS,
        why="Asynchronous scheduling is turned off where tokens are filtered.",
    ),
    _ARGUMENTS(
        id="engine_args.create_engine_config",
        symbol="EngineArgs.create_engine_config",
        need=Parameters(),
        used_by=_SYNCHRONOUS,
        why="It decides how steps are scheduled.",
    ),
    _ROW(
        id="scheduler_config.async_scheduling",
        path="vllm/config/scheduler.py",
        symbol="SchedulerConfig",
        need=Fields(("async_scheduling",)),
        used_by=_REFUSE,
        why="The next step must not be scheduled before a token is committed.",
    ),
    _ROW(
        id="scheduler_config.get_scheduler_cls",
        path="vllm/config/scheduler.py",
        symbol="SchedulerConfig.get_scheduler_cls",
        need=Parameters(),
        used_by=_REFUSE,
        why="A scheduler of another kind has neither slots to reserve nor steps to repeat.",
    ),
    _ROW(
        id="parallel_config.data_parallel_size",
        path="vllm/config/parallel.py",
        symbol="ParallelConfig",
        need=Fields(("data_parallel_size",)),
        used_by=_REFUSE,
        why="Engines in lockstep cannot run a step ahead.",
    ),
    _ROW(
        id="parallel_config.distributed_executor_backend",
        path="vllm/config/parallel.py",
        symbol="ParallelConfig",
        need=Fields(("distributed_executor_backend",)),
        used_by="value_steer.engine.lookahead.require_registration",
        why="With the mp executor a worker is another process than the one that schedules.",
    ),
    _ROW(
        id="vllm_config.kv_transfer_config",
        path="vllm/config/vllm.py",
        symbol="VllmConfig",
        need=Fields(("kv_transfer_config",)),
        used_by=_REFUSE,
        why="The cache of a token that is not committed must not be sent anywhere.",
    ),
    _ROW(
        id="model_config.has_inner_state",
        path="vllm/config/model.py",
        symbol="ModelConfig.has_inner_state",
        need=Property(),
        used_by=_REFUSE,
        why="A recurrent state cannot take a token back.",
    ),
)

_REPETITION: tuple[Surface, ...] = (
    _SCHEDULER(
        id="scheduler.update_from_output",
        symbol="Scheduler.update_from_output",
        need=Parameters(("scheduler_output", "model_runner_output")),
        used_by=_REPEAT,
        why="After it, a request that was given no token is told to do its step again.",
    ),
    _SCHEDULER(
        id="scheduler.requests",
        symbol="Scheduler",
        need=Assigns(("requests",)),
        used_by=_REPEAT,
        why="They are found there by their ids.",
    ),
    _REQUEST(
        id="request.num_computed_tokens",
        symbol="Request",
        need=Assigns(("num_computed_tokens",)),
        used_by=_REPEAT,
        why="A step is done again by counting its token as not computed.",
    ),
    _REQUEST(
        id="request.num_tokens",
        symbol="Request.num_tokens",
        need=Property(),
        used_by=_REPEAT,
        why="A part of a prompt gives no token either, but leaves tokens to compute.",
    ),
)

ROWS: tuple[Surface, ...] = (*_SLOT, *_REPETITION)
