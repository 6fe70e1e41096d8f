"""Model Runner V2: where the two hooks sit, and how a position is taken again."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import (
    Accepts,
    Assigns,
    Calls,
    Contains,
    Fields,
    Order,
    Parameters,
)
from value_steer.contracts.surface import Mode, Runner, Surface

_PATH = "vllm/v1/worker/gpu"
_ANY = partial(Surface, runners=frozenset({Runner.V2}), modes=frozenset(Mode))
_VFD = partial(_ANY, modes=frozenset({Mode.VFD}))
_RUNNER = partial(_ANY, path=f"{_PATH}/model_runner.py")
_BATCH = partial(_ANY, path=f"{_PATH}/input_batch.py", symbol="InputBatch")
_INPUT = partial(_VFD, path=f"{_PATH}/input_batch.py")
_BUFFERS = partial(_VFD, path=f"{_PATH}/buffer_utils.py")
_SAMPLER = partial(_VFD, path=f"{_PATH}/sample/sampler.py")

_INSTALL = "value_steer.engine.hooks.install"
_END = "value_steer.engine.abstain.StopTokens.force"
_RUNS_AGAIN = "value_steer.engine.runners.v2.RunnerV2.run_again"
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
        id="runner_v2.makes_sampler",
        symbol="GPUModelRunner",
        need=Calls("Sampler"),
        used_by=f"{_DRAWS}._intercept",
        why="Draws are taken over in this class; another one may return unlike distributions.",
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

_AGAIN: tuple[Surface, ...] = (
    _VFD(
        id="runner_v2.req_states",
        path=f"{_PATH}/model_runner.py",
        symbol="GPUModelRunner",
        need=Assigns(("req_states",)),
        used_by=_RUNS_AGAIN,
        why="What is known of each request on the device is found there.",
    ),
    _VFD(
        id="request_state_v2.fields",
        path=f"{_PATH}/states.py",
        symbol="RequestState",
        need=Assigns(
            ("req_id_to_index", "last_sampled_tokens", "total_len", "num_computed_tokens")
        ),
        used_by=_RUNS_AGAIN,
        why="A token is taken back by counting one less.",
    ),
    _BUFFERS(
        id="staged_write_tensor.gpu",
        symbol="StagedWriteTensor",
        need=Assigns(("gpu",)),
        used_by=_RUNS_AGAIN,
        why="The counts of a request are kept in such tensors.",
    ),
    _VFD(
        id="penalties_v2.output_bin_counts",
        path=f"{_PATH}/sample/penalties.py",
        symbol="PenaltiesState",
        need=Assigns(("output_bin_counts",)),
        used_by=_RUNS_AGAIN,
        why="Penalties read from it which tokens a request has had.",
    ),
    _VFD(
        id="runner_v2.reads_last_sampled_token",
        path=f"{_PATH}/model_runner.py",
        symbol="GPUModelRunner.prepare_inputs",
        need=Contains(("self.req_states.last_sampled_tokens",)),
        used_by=_RUNS_AGAIN,
        why="Read elsewhere, the next forward pass would get the refused token.",
    ),
    _VFD(
        id="runner_v2.reads_position",
        path=f"{_PATH}/model_runner.py",
        symbol="GPUModelRunner.prepare_inputs",
        need=Contains(("self.req_states.num_computed_tokens.gpu",)),
        used_by=_RUNS_AGAIN,
        why="The next forward pass takes the position again because of this count.",
    ),
    _INPUT(
        id="post_update_v2.arguments",
        symbol="post_update",
        need=Accepts(
            (
                "num_computed_tokens",
                "last_sampled_tokens",
                "output_bin_counts",
                "sampled_tokens",
                "all_token_ids",
                "total_len",
            )
        ),
        used_by=_RUNS_AGAIN,
        why="After the sampler it books a token in what was counted back before.",
    ),
    *(
        _INPUT(
            id=f"post_update_v2.{name}",
            symbol="_post_update_kernel",
            need=Contains(code),
            used_by=_RUNS_AGAIN,
            why=why,
        )
        for name, code, why in (
            (
                "appends",
                ("all_token_ids_ptr + req_state_idx * all_token_ids_stride + total_len + i",),
                "With one less counted, the new token takes the refused one's place.",
            ),
            (
                "counts_length",
                ("tl.store(total_len_ptr + req_state_idx, total_len + num_sampled)",),
                "It adds the one that was counted back.",
            ),
            (
                "counts_computed",
                (
                    "num_computed += query_len - num_rejected",
                    "computed_delta = query_len - num_rejected",
                ),
                "It adds the one that was counted back.",
            ),
            (
                "counts_for_penalties",
                ("tl.store(token_ptr, count + 1)",),
                "The refused token is counted out, since its successor is counted in.",
            ),
        )
    ),
)

_DRAW: tuple[Surface, ...] = (
    _BUFFERS(
        id="uva_backed_tensor.np",
        symbol="UvaBackedTensor",
        need=Assigns(("np",)),
        used_by=f"{_DRAWS}.take",
        why="Seeds are read on the host.",
    ),
    _SAMPLER(
        id="sampler_v2.state",
        symbol="Sampler",
        need=Assigns(("sampling_states", "penalties_state", "logprobs_mode")),
        used_by=f"{_DRAWS}.take",
        why="Seeds, counts of tokens and the kind of log-probabilities are read from it.",
    ),
    _SAMPLER(
        id="sampler_v2.sample_arguments",
        symbol="Sampler.sample",
        need=Accepts(("logits", "idx_mapping_np", "pos")),
        used_by=f"{_DRAWS}._intercept",
        why="The places of the requests and the positions are taken from it by their names.",
    ),
    _SAMPLER(
        id="sampler_v2.draws",
        symbol="Sampler.__call__",
        need=Calls("self.sample", positional=5),
        used_by=f"{_DRAWS}._intercept",
        why="What it draws from is intercepted in this call, whose first arguments have no names.",
    ),
    _VFD(
        id="sampling_states_v2.seeds",
        path=f"{_PATH}/sample/states.py",
        symbol="SamplingStates",
        need=Assigns(("seeds",)),
        used_by="value_steer.engine.runners.v2.DistributionsV2.generators",
        why="Further draws of a request follow from its seed.",
    ),
)

ROWS: tuple[Surface, ...] = (*_HOOKS, *_AGAIN, *_DRAW)
