"""Abstention with speculative decoding: where drafts are verified, and what follows from it."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Assigns, Calls, Contains, Fields, IsClass, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset({Runner.V1}), modes=frozenset({Mode.ABSTAIN}))
_RUNNER = partial(_ROW, path="vllm/v1/worker/gpu_model_runner.py")
_VERIFIER = partial(_ROW, path="vllm/v1/sample/rejection_sampler.py")
_SCHEDULER = partial(_ROW, path="vllm/v1/core/sched/scheduler.py")
_CONFIG = partial(_ROW, path="vllm/config/speculative.py", symbol="SpeculativeConfig")

_INSTALL = "value_steer.engine.hooks.install"
_LAYOUT = "value_steer.engine.speculation.rows.DraftRows.lay_out"
_JUDGE = "value_steer.engine.speculation.judging.DraftJudge.judge"
_END = "value_steer.engine.speculation.judging.end_drafts"
_BEHIND = "value_steer.engine.speculation.steering.SpeculativeSteering._behind"
_SPAN = "value_steer.engine.scheduling.reporting.SteeredScheduling._update_request_with_output"

ROWS: tuple[Surface, ...] = (
    _CONFIG(
        id="speculative_config.fields",
        runners=frozenset(Runner),
        need=Fields(("num_speculative_tokens", "method")),
        used_by="value_steer.engine.host.drafted_tokens",
        why="They say whether a step may give a request several tokens, and who drafts them.",
    ),
    _ROW(
        id="scheduler_output.drafts",
        path="vllm/v1/core/sched/output.py",
        symbol="SchedulerOutput",
        runners=frozenset(Runner),
        modes=frozenset(Mode),
        need=Fields(("scheduled_spec_decode_tokens",), writable=True),
        used_by="value_steer.engine.requests.RequestTable._reach",
        why="Tokens that a step verifies do not belong to the sequence yet.",
    ),
    _ROW(
        id="cached_request_data.synthetic",
        path="vllm/v1/core/sched/output.py",
        symbol="CachedRequestData",
        need=Fields(
            ("req_ids", "new_block_ids", "num_computed_tokens", "num_output_tokens"), writable=True
        ),
        used_by="value_steer.engine.self_test._draft_step",
        why="The self-test goes on with its request, and verifies a draft.",
    ),
    _ROW(
        id="cached_request_data.make_empty",
        path="vllm/v1/core/sched/output.py",
        symbol="CachedRequestData.make_empty",
        need=Parameters(on_class=True),
        used_by="value_steer.engine.self_test._draft_step",
        why="The self-test goes on with its request, and verifies a draft.",
    ),
    _RUNNER(
        id="runner.rejection_sampler",
        symbol="GPUModelRunner",
        need=Assigns(("rejection_sampler",)),
        used_by=_INSTALL,
        why="It is replaced in place where the engine decodes speculatively.",
    ),
    _RUNNER(
        id="runner.calls_rejection_sampler",
        symbol="GPUModelRunner._sample",
        need=Calls("self.rejection_sampler", positional=4),
        used_by="value_steer.engine.hooks.SteeredSampler.__call__",
        why="With drafts the decision is taken in this call, on its logits.",
    ),
    _VERIFIER(
        id="rejection_sampler.forward",
        symbol="RejectionSampler.forward",
        need=Parameters(("metadata", "draft_probs", "logits", "sampling_metadata")),
        used_by=_INSTALL,
        why="The stand-in finds the logits by their place.",
    ),
    _VERIFIER(
        id="rejection_sampler.is_module",
        symbol="RejectionSampler",
        need=IsClass(bases=("Module",)),
        used_by=_INSTALL,
        why="Calling it is calling its forward.",
    ),
    _VERIFIER(
        id="rejection_sampler.own_sampler",
        symbol="RejectionSampler",
        need=Assigns(("sampler",)),
        used_by=_INSTALL,
        why="The bonus token is sampled with a sampler of its own, which no decision must see.",
    ),
    _RUNNER(
        id="runner.a_row_per_draft_and_one",
        symbol="GPUModelRunner._calc_spec_decode_metadata",
        need=Contains(("num_sampled_tokens = num_draft_tokens + 1",)),
        used_by=_LAYOUT,
        why="A request's rows follow one another: one per draft, and one for the bonus token.",
    ),
    _VERIFIER(
        id="rejection_sampler.marks_rejected",
        symbol="RejectionSampler.parse_output",
        need=Contains(("output_token_ids_np != PLACEHOLDER_TOKEN_ID",)),
        used_by=_JUDGE,
        why="Tokens that are not given out are told from others by it, and so are those cut off.",
    ),
    _VERIFIER(
        id="rejection_sampler.filters_logprobs",
        symbol="RejectionSampler.parse_output",
        need=Contains(("logprobs_tensors.filter(valid_mask.flatten())",)),
        used_by=_END,
        why="The table of log-probabilities has a line for every place, and loses those cut off.",
    ),
    _SCHEDULER(
        id="scheduler.trims_after_a_stop",
        symbol="Scheduler._update_request_with_output",
        need=Contains(("del new_token_ids[num_new:]",)),
        used_by=_SPAN,
        why="How many tokens were taken says whether a request has ended before it was cut.",
    ),
    _SCHEDULER(
        id="scheduler.takes_rejected_drafts_back",
        symbol="Scheduler.update_from_output",
        need=Contains(("request.num_computed_tokens -= num_rejected",)),
        used_by=_BEHIND,
        why="Until then the scheduler counts on every draft having been accepted.",
    ),
    _RUNNER(
        id="runner.counts_on_every_draft",
        symbol="GPUModelRunner._update_states",
        need=Contains(("req_state.prev_num_draft_len and self.use_async_scheduling",)),
        used_by=_BEHIND,
        why="The runner takes the drafts rejected in the last step off the message, and so do we.",
    ),
)
