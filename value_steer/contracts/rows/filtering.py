"""What value filtering needs of the model runner: a step run ahead, and further draws."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import (
    Assigns,
    Calls,
    Compares,
    Fields,
    IsClass,
    Parameters,
)
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset({Mode.VFD}))
_V1 = partial(_ROW, runners=frozenset({Runner.V1}))
_RUNNER = partial(_V1, path="vllm/v1/worker/gpu_model_runner.py")
_BATCH = partial(_V1, path="vllm/v1/worker/gpu_input_batch.py")
_OUTPUT = partial(_ROW, path="vllm/v1/core/sched/output.py")
_OUTPUTS = partial(_ROW, path="vllm/v1/outputs.py")
_SAMPLER = partial(_V1, path="vllm/v1/sample/sampler.py")
_TOP = partial(_V1, path="vllm/v1/sample/ops/topk_topp_sampler.py")

_REINSTATE = "value_steer.engine.runners.v1.RunnerV1.reinstate"
_BOOK = "value_steer.engine.runners.v1.RunnerV1.book"
_STEP = "value_steer.engine.run_ahead.RunAhead._step"
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
    _RUNNER(
        id="runner.drops_tokens",
        symbol="GPUModelRunner._update_states",
        need=Compares("num_output_tokens"),
        used_by="value_steer.engine.runners.v1.RunnerV1.take_back",
        why="A token that the scheduler does not count is dropped from the sequence.",
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

ROWS: tuple[Surface, ...] = (*_STATE, *_DRAW)
