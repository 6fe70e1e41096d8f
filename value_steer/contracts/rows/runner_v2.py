"""Model Runner V2: where the two hooks sit, and what a step run ahead needs besides."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Accepts, Assigns, Calls, Fields, Order, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_PATH = "vllm/v1/worker/gpu"
_ANY = partial(Surface, runners=frozenset({Runner.V2}), modes=frozenset(Mode))
_VFD = partial(_ANY, modes=frozenset({Mode.VFD}))
_RUNNER = partial(_ANY, path=f"{_PATH}/model_runner.py")
_AHEAD = partial(_VFD, path=f"{_PATH}/model_runner.py")
_EXECUTE = partial(_AHEAD, symbol="GPUModelRunner.execute_model")
_BATCH = partial(_ANY, path=f"{_PATH}/input_batch.py", symbol="InputBatch")
_BLOCKS = partial(_VFD, path=f"{_PATH}/block_table.py")
_BUFFERS = partial(_VFD, path=f"{_PATH}/buffer_utils.py")
_SAMPLER = partial(_VFD, path=f"{_PATH}/sample/sampler.py")

_INSTALL = "value_steer.engine.hooks.install"
_END = "value_steer.engine.abstain.StopTokens.end"
_TAKE = "value_steer.engine.runners.v2.RunnerV2.take_look"
_REINSTATE = "value_steer.engine.runners.v2.RunnerV2.reinstate"
_BOOK = "value_steer.engine.runners.v2.RunnerV2.book"
_SLOTS = "value_steer.engine.runners.v2.RunnerV2.blocks"
_DRAWS = "value_steer.engine.runners.v2.DrawsV2"

_HOOKS: tuple[Surface, ...] = (
    _RUNNER(
        id="runner_v2.state",
        symbol="GPUModelRunner",
        need=Assigns(("model", "sampler", "device", "kv_cache_config")),
        used_by=_INSTALL,
        why="The sampler is replaced in place.",
    ),
    _RUNNER(
        id="runner_v2.get_model",
        symbol="GPUModelRunner.get_model",
        need=Parameters(),
        used_by=_INSTALL,
        why="The tap goes onto the model itself.",
    ),
    _RUNNER(
        id="runner_v2.computes_logits",
        symbol="GPUModelRunner.sample",
        need=Calls("self.model.compute_logits", positional=1),
        used_by="value_steer.engine.hooks.FeatureTap.__call__",
        why="The feature is the argument of this call.",
    ),
    _RUNNER(
        id="runner_v2.calls_sampler",
        symbol="GPUModelRunner.sample",
        need=Calls("self.sampler", positional=2),
        used_by="value_steer.engine.hooks.SteeredSampler.__call__",
        why="The decision is taken in this call, on its logits and on the batch behind them.",
    ),
    _RUNNER(
        id="runner_v2.masks_before_sampling",
        symbol="GPUModelRunner.sample",
        need=Order("self.structured_outputs_worker.apply_grammar_bitmask", "self.sampler"),
        used_by="value_steer.engine.abstain.StopTokens.read",
        why="The logits tell whether the grammar lets a row end only once they are masked.",
    ),
    _RUNNER(
        id="runner_v2.samples_before_output",
        symbol="GPUModelRunner.sample_tokens",
        need=Order("self.sample", "AsyncOutput"),
        used_by=_END,
        why="A replaced token must be the one that comes out.",
    ),
    _ANY(
        id="sampler_v2.call",
        path=f"{_PATH}/sample/sampler.py",
        symbol="Sampler.__call__",
        need=Parameters(("logits", "input_batch")),
        used_by="value_steer.engine.hooks.SteeredSampler.__call__",
        why="The stand-in passes on what it is called with; the batch comes after the logits.",
    ),
    _BATCH(
        id="input_batch_v2.req_ids",
        need=Fields(("req_ids",)),
        used_by="value_steer.engine.assembly._row_ids",
        why="It names the request of each sampled row, in row order.",
    ),
    _ANY(
        id="sampler_output_v2.fields",
        path=f"{_PATH}/sample/output.py",
        symbol="SamplerOutput",
        need=Fields(("sampled_token_ids", "logprobs_tensors"), writable=True),
        used_by=_END,
        why="The sampled token of a row that ends is replaced in it.",
    ),
    _ANY(
        id="async_output_v2.get_output",
        path=f"{_PATH}/async_utils.py",
        symbol="AsyncOutput.get_output",
        need=Parameters(),
        used_by="value_steer.engine.steps.SteeredSteps.end",
        why="The tokens come out through it.",
    ),
    _ANY(
        id="new_request_data.prefill_token_ids",
        path="vllm/v1/core/sched/output.py",
        symbol="NewRequestData",
        need=Fields(("prefill_token_ids",), writable=True),
        used_by="value_steer.engine.self_test._first_step",
        why="The runner takes a prompt from it, that of the self-test as well.",
    ),
)

_STATE: tuple[Surface, ...] = (
    _AHEAD(
        id="runner_v2.run_ahead_state",
        symbol="GPUModelRunner",
        need=Assigns(("execute_model_state", "req_states", "block_tables")),
        used_by=_TAKE,
        why="What the runner keeps between the calls of a step is taken out and put back.",
    ),
    _AHEAD(
        id="execute_model_state_v2.fields",
        symbol="ExecuteModelState",
        need=Fields(("input_batch", "hidden_states")),
        used_by=_TAKE,
        why="It holds the rows of a step that was run ahead, and what they show.",
    ),
    _VFD(
        id="input_batch_v2.logits_indices",
        path=f"{_PATH}/input_batch.py",
        symbol="InputBatch",
        need=Fields(("logits_indices",)),
        used_by=_TAKE,
        why="It says which hidden states are those of the sampled rows.",
    ),
    *(
        _AHEAD(
            id=f"runner_v2.{name}",
            symbol=f"GPUModelRunner.{name}",
            need=Parameters(("scheduler_output",)),
            used_by=_REINSTATE,
            why="The scheduler's step is taken in without being run a second time.",
        )
        for name in ("finish_requests", "free_states", "add_requests", "update_requests")
    ),
    *(
        _EXECUTE(
            id=f"runner_v2.{first.rpartition('.')[2]}_first",
            need=Order(first, second),
            used_by=_REINSTATE,
            why="It is what a step does to the requests before its forward pass, in this order.",
        )
        for first, second in (
            ("self.finish_requests", "self.free_states"),
            ("self.free_states", "self.add_requests"),
            ("self.add_requests", "self.update_requests"),
            ("self.update_requests", "self.block_tables.apply_staged_writes"),
            ("self.block_tables.apply_staged_writes", "self.prepare_inputs"),
        )
    ),
    _BLOCKS(
        id="block_tables_v2.apply_staged_writes",
        symbol="BlockTables.apply_staged_writes",
        need=Parameters(),
        used_by=_REINSTATE,
        why="The blocks of the scheduler's step are written as before a forward pass.",
    ),
    _BLOCKS(
        id="block_tables_v2.num_blocks",
        symbol="BlockTables",
        need=Assigns(("num_blocks",)),
        used_by=_SLOTS,
        why="The blocks of a request say whether a slot is there.",
    ),
    _BUFFERS(
        id="uva_backed_tensor.np",
        symbol="UvaBackedTensor",
        need=Assigns(("np",)),
        used_by=_SLOTS,
        why="Counts of blocks, and seeds, are read on the host.",
    ),
    _BUFFERS(
        id="staged_write_tensor.gpu",
        symbol="StagedWriteTensor",
        need=Assigns(("gpu",)),
        used_by=_BOOK,
        why="The tokens of a request are kept in such a tensor.",
    ),
    _VFD(
        id="request_state_v2.tokens",
        path=f"{_PATH}/states.py",
        symbol="RequestState",
        need=Assigns(("req_id_to_index", "last_sampled_tokens", "all_token_ids")),
        used_by=_BOOK,
        why="The next forward pass reads the token there.",
    ),
    _VFD(
        id="request_state_v2.lengths",
        path=f"{_PATH}/states.py",
        symbol="RequestState",
        need=Assigns(("total_len", "num_computed_tokens")),
        used_by="value_steer.engine.runners.v2.RunnerV2.take_back",
        why="A token is taken back by counting one less.",
    ),
    _VFD(
        id="penalties_v2.output_bin_counts",
        path=f"{_PATH}/sample/penalties.py",
        symbol="PenaltiesState",
        need=Assigns(("output_bin_counts",)),
        used_by=_BOOK,
        why="Penalties read from it which tokens a request has had.",
    ),
)

_DRAW: tuple[Surface, ...] = (
    _SAMPLER(
        id="sampler_v2.state",
        symbol="Sampler",
        need=Assigns(("sampling_states", "penalties_state", "logprobs_mode")),
        used_by=f"{_DRAWS}.rewrite",
        why="Seeds, counts of tokens and the kind of log-probabilities are read from it.",
    ),
    _SAMPLER(
        id="sampler_v2.sample_arguments",
        symbol="Sampler.sample",
        need=Accepts(("logits", "idx_mapping_np", "pos")),
        used_by=f"{_DRAWS}._overhear",
        why="The places of the requests and the positions are taken from it by their names.",
    ),
    _SAMPLER(
        id="sampler_v2.draws",
        symbol="Sampler.__call__",
        need=Calls("self.sample", positional=5),
        used_by=f"{_DRAWS}._overhear",
        why="What it draws from is overheard in this call, whose first arguments have no names.",
    ),
    _VFD(
        id="sampling_states_v2.seeds",
        path=f"{_PATH}/sample/states.py",
        symbol="SamplingStates",
        need=Assigns(("seeds",)),
        used_by=f"{_DRAWS}._generator",
        why="Further draws of a request follow from its seed.",
    ),
)

ROWS: tuple[Surface, ...] = (*_HOOKS, *_STATE, *_DRAW)
