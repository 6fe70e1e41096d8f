"""What value filtering needs besides: a step run ahead, its slot, and further draws."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import (
    Accepts,
    Assigns,
    Calls,
    Compares,
    Fields,
    IsClass,
    Parameters,
    Property,
)
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset({Mode.VFD}))
_V1 = partial(_ROW, runners=frozenset({Runner.V1}))
_RUNNER = partial(_V1, path="vllm/v1/worker/gpu_model_runner.py")
_BATCH = partial(_V1, path="vllm/v1/worker/gpu_input_batch.py")
_OUTPUT = partial(_ROW, path="vllm/v1/core/sched/output.py")
_OUTPUTS = partial(_ROW, path="vllm/v1/outputs.py")
_CACHE = partial(_ROW, path="vllm/v1/kv_cache_interface.py")
_SCHEDULER = partial(_ROW, path="vllm/v1/core/sched/scheduler.py")
_REQUEST = partial(_ROW, path="vllm/v1/request.py")
_ARGUMENTS = partial(_ROW, path="vllm/engine/arg_utils.py")
_SAMPLER = partial(_V1, path="vllm/v1/sample/sampler.py")
_TOP = partial(_V1, path="vllm/v1/sample/ops/topk_topp_sampler.py")

_REINSTATE = "value_steer.engine.runners.v1.RunnerV1.reinstate"
_BOOK = "value_steer.engine.runners.v1.RunnerV1.book"
_STEP = "value_steer.engine.run_ahead.RunAhead._step"
_SIZES = "value_steer.engine.assembly._value_filter"
_REPEAT = "value_steer.engine.repetition.repeating"
_REFUSE = "value_steer.engine.host.refuse_unfilterable"
_RESERVE = "value_steer.engine.lookahead._reserving"
_ALLOCATE = "value_steer.engine.lookahead._with_lookahead"
_SYNCHRONOUS = "value_steer.engine.lookahead._synchronous"
_DRAWS = "value_steer.engine.runners.v1.DrawsV1"

_STATE: tuple[Surface, ...] = (
    _RUNNER(
        id="execute_model_state.fields",
        symbol="ExecuteModelState",
        need=Fields(("scheduler_output", "logits", "hidden_states", "sample_hidden_states")),
        used_by=_REINSTATE,
        why="A step that was run ahead is handed back as this record.",
    ),
    _RUNNER(
        id="execute_model_state.is_named_tuple",
        symbol="ExecuteModelState",
        need=IsClass(bases=("NamedTuple",)),
        used_by=_REINSTATE,
        why="It is handed back with the scheduler's own step in it.",
    ),
    _RUNNER(
        id="runner.run_ahead_state",
        symbol="GPUModelRunner",
        need=Assigns(("execute_model_state", "requests")),
        used_by="value_steer.engine.runners.v1.RunnerV1.take_look",
        why="What the runner keeps between the calls of a step is taken out and put back.",
    ),
    _RUNNER(
        id="runner.update_states",
        symbol="GPUModelRunner._update_states",
        need=Parameters(("scheduler_output",)),
        used_by=_REINSTATE,
        why="The scheduler's step is taken in without being run a second time.",
    ),
    _RUNNER(
        id="runner.execute_updates_states",
        symbol="GPUModelRunner.execute_model",
        need=Calls("self._update_states", positional=1),
        used_by=_REINSTATE,
        why="It is what a step does to the batch before its forward pass.",
    ),
    _BATCH(
        id="input_batch.tokens",
        symbol="InputBatch",
        need=Assigns(("req_id_to_index", "token_ids_cpu")),
        used_by=_BOOK,
        why="The next forward pass reads the token there.",
    ),
    _BATCH(
        id="cached_request_state.fields",
        symbol="CachedRequestState",
        need=Fields(("block_ids", "output_token_ids")),
        used_by=_BOOK,
        why="Penalties read the tokens there, and the blocks say whether a slot is there.",
    ),
    _OUTPUT(
        id="cached_request_data.make_empty",
        symbol="CachedRequestData.make_empty",
        need=Parameters(on_class=True),
        used_by=_STEP,
        why="The step that is run ahead continues known requests.",
    ),
    _OUTPUT(
        id="cached_request_data.writable",
        symbol="CachedRequestData",
        need=Fields(
            ("req_ids", "num_computed_tokens", "num_output_tokens", "new_block_ids"),
            writable=True,
        ),
        used_by=_STEP,
        why="They say which token of which request is run.",
    ),
    _OUTPUT(
        id="scheduler_output.more_than_decode",
        symbol="SchedulerOutput",
        need=Fields(("scheduled_encoder_inputs", "scheduled_spec_decode_tokens")),
        used_by="value_steer.engine.run_ahead._continues",
        why="A step that asks for more than was run ahead is left to the host.",
    ),
    _OUTPUTS(
        id="model_runner_output.tokens_and_logprobs",
        symbol="ModelRunnerOutput",
        need=Fields(
            ("req_ids", "req_id_to_index", "sampled_token_ids", "logprobs", "prompt_logprobs_dict")
        ),
        used_by="value_steer.engine.filtering.ValueFilter._commit",
        why="Another token is committed, or none, by replacing the one that was sampled.",
    ),
    _OUTPUTS(
        id="logprobs_lists.fields",
        symbol="LogprobsLists",
        need=Fields(("logprob_token_ids", "logprobs", "sampled_token_ranks")),
        used_by="value_steer.engine.filtering.ValueFilter._commit",
        why="The caller's log-probabilities must be those of the committed token.",
    ),
    _OUTPUTS(
        id="logprobs_tensors.tolists",
        symbol="LogprobsTensors.tolists",
        runners=frozenset({Runner.V1}),
        need=Parameters(),
        used_by=f"{_DRAWS}.rewrite",
        why="The host's own conversion gives the rows of committed tokens.",
    ),
)

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

_DRAW: tuple[Surface, ...] = (
    _TOP(
        id="sampling.apply_top_k_top_p",
        symbol="apply_top_k_top_p",
        need=Parameters(("logits", "k", "p")),
        used_by=f"{_DRAWS}._logits_of",
        why="Candidates are drawn, and weighed, after top-k and top-p.",
    ),
    _TOP(
        id="sampling.top_sampler_is_module",
        symbol="TopKTopPSampler",
        need=IsClass(bases=("Module",)),
        used_by=f"{_DRAWS}._overhear_draw",
        why="What it draws from is overheard by a hook.",
    ),
    _SAMPLER(
        id="sampler.state",
        symbol="Sampler",
        need=Assigns(("topk_topp_sampler",)),
        used_by=f"{_DRAWS}._overhear_draw",
        why="It draws from the processed distribution.",
    ),
    _SAMPLER(
        id="sampler.draws",
        symbol="Sampler.sample",
        need=Calls("self.topk_topp_sampler", positional=4),
        used_by=f"{_DRAWS}._overhear_draw",
        why="The processed logits, the generators, top-k and top-p are the arguments of this call.",
    ),
    _SAMPLER(
        id="sampler.is_greedy",
        symbol="Sampler.sample",
        need=Calls("self.greedy_sample", positional=1),
        used_by=f"{_DRAWS}._greedy_sample",
        why="The processed logits of greedy rows are the argument of this call.",
    ),
    _SAMPLER(
        id="sampler.gathers_logprobs",
        symbol="Sampler.forward",
        need=Calls("self.gather_logprobs", positional=2, keywords=("token_ids",)),
        used_by=f"{_DRAWS}._gather_logprobs",
        why="The log-probabilities of another token are gathered from the same table.",
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
    _RUNNER(
        id="runner.drops_tokens",
        symbol="GPUModelRunner._update_states",
        need=Compares("num_output_tokens"),
        used_by="value_steer.engine.runners.v1.RunnerV1.take_back",
        why="A token that the scheduler does not count is dropped from the sequence.",
    ),
)

ROWS: tuple[Surface, ...] = (*_STATE, *_SLOT, *_REPETITION, *_DRAW)
