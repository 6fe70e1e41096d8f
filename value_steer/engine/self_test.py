"""Proof, before the first request is served, that the seams into the runner are reached.

A synthetic request goes through the worker's own two calls of a step, as an executor's would,
with a decision that is forced. If the token that comes out is not the forced one, a hook is dead
and steering would be too: the engine must not start.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.core.sched.output import CachedRequestData, NewRequestData, SchedulerOutput
from vllm.v1.worker import gpu_model_runner
from vllm.v1.worker import kv_connector_model_runner_mixin as kv_mixin

from value_steer.engine.speculation.judging import REJECTED
from value_steer.errors import SelfTestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from value_steer.engine.hooks import Hooks, SteeredSampler
    from value_steer.engine.scoring import Score

_REQUEST = "value-steer-self-test"


class ForcedDecision:
    """Follows a step, replaces the sampled token by its successor, and notes what it saw."""

    def __init__(self, sampler: SteeredSampler, score: Score) -> None:
        self._sampler = sampler
        self._score = score
        self.begun = self.ended = False
        self.value: float | None = None
        self.forced: int | None = None

    def begin(self, step: SchedulerOutput) -> SchedulerOutput:
        """Arm the decision for a step that samples."""
        self.begun = True
        if step.total_num_scheduled_tokens:
            self._sampler.arm(self)
        return step

    def end(self, output: Any) -> Any:
        """Leave the output as it is."""
        self.ended = True
        return output

    def __call__(self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        """Sample, score the feature, force the token."""
        output = sample()
        if feature is not None and len(feature) == len(logits):
            self.value = self._score(feature)[0].item()
        tokens = (output.sampled_token_ids + 1) % logits.shape[-1]
        tokens[:, 1:] = REJECTED  # behind the forced one nothing is given out
        self.forced = int(tokens[0, 0])
        output.sampled_token_ids = tokens.to(output.sampled_token_ids.dtype)
        return output


def run(worker: Any, hooks: Hooks, score: Score | None, *, drafts: int = 0) -> None:
    """Put one synthetic request through ``worker`` and check what comes out.

    Args:
        worker: Whose model is loaded and warmed up.
        hooks: What was put into its model runner.
        score: A head's, on the device of the model; ``None`` if the worker's pipeline stage samples
            nothing: the stages run each step together.
        drafts: Draft tokens per step, if it decodes speculatively: a second step verifies one.

    Raises:
        SelfTestError: Names the seam that was not reached.
    """
    groups = len(worker.model_runner.kv_cache_config.kv_cache_groups)
    steps = [_first_step(groups), *([_draft_step(groups)] if drafts else [])]
    try:
        with torch.inference_mode(), _without_connector(worker.model_runner):
            for step in steps:
                # From vLLM 0.24 on the drafter asks how many to make; they are verified next.
                step.num_spec_tokens_to_schedule = drafts
                if score is None:
                    _step(worker, step)
                    continue
                decision = ForcedDecision(hooks.sampler, score)
                hooks.calls.follow(decision)
                _check(decision, _emitted(_step(worker, step)))
            _step(worker, _last_step(groups))
    finally:
        hooks.calls.follow(None)


def _check(decision: ForcedDecision, emitted: int | None) -> None:
    """Check what became of a step."""
    if not (decision.begun and decision.ended):
        _fail("the worker's two calls of a step do not reach the model runner's")
    if decision.forced is None:
        _fail("the model runner did not call its sampler through value-steer")
    if decision.value is None:
        _fail("the model runner did not compute its logits through the tapped compute_logits")
    if not 0.0 <= decision.value <= 1.0:
        _fail(f"the head gives {decision.value} on a hidden state of this model")
    if emitted != decision.forced:
        _fail(f"token {decision.forced} was decided and token {emitted} came out of the engine")


def _step(worker: Any, step: SchedulerOutput) -> Any:
    """Both calls of a step."""
    output = worker.execute_model(step)
    return worker.sample_tokens(None) if output is None else output


def _emitted(output: Any) -> int | None:
    if hasattr(output, "get_output"):  # asynchronous scheduling copies the tokens later
        output = output.get_output()
    tokens = output.sampled_token_ids[0]
    return int(tokens[0]) if len(tokens) else None


@contextmanager
def _without_connector(runner: Any) -> Iterator[None]:
    """Let no KV connector see the synthetic request; it has nothing to load or to save."""
    connector = getattr(runner, "kv_connector", None)
    if connector is not None:  # Model Runner V2, whose own warm-up does the same
        connector.set_disabled(True)
        try:
            yield
        finally:
            connector.set_disabled(False)
        return
    # Model Runner V1 asks its modules whether there is one whose wishes a step must carry.
    asked = [(module, module.has_kv_transfer_group) for module in (gpu_model_runner, kv_mixin)]
    for module, _ in asked:
        module.has_kv_transfer_group = lambda: False
    try:
        yield
    finally:
        for module, has_kv_transfer_group in asked:
            module.has_kv_transfer_group = has_kv_transfer_group


def _first_step(groups: int) -> SchedulerOutput:
    """A prompt of one token. Block 0 is the host's null block, which no request ever reads."""
    request = NewRequestData(
        req_id=_REQUEST,
        prompt_token_ids=[0],
        mm_features=[],
        sampling_params=SamplingParams(temperature=0.0, max_tokens=1),
        pooling_params=None,
        block_ids=tuple([0] for _ in range(groups)),
        num_computed_tokens=0,
        lora_request=None,
    )
    request.prefill_token_ids = [0]  # what Model Runner V2 reads
    step = SchedulerOutput.make_empty()
    step.scheduled_new_reqs = [request]
    step.num_scheduled_tokens = {_REQUEST: 1}
    step.total_num_scheduled_tokens = 1
    step.num_common_prefix_blocks = [0] * groups
    return step


def _draft_step(groups: int) -> SchedulerOutput:
    """One more token, and a draft of the one behind it."""
    step = SchedulerOutput.make_empty()
    step.scheduled_cached_reqs = cached = CachedRequestData.make_empty()
    cached.req_ids, cached.new_block_ids = [_REQUEST], [None]
    cached.num_computed_tokens = cached.num_output_tokens = [1]
    step.num_scheduled_tokens = {_REQUEST: 2}
    step.total_num_scheduled_tokens = 2
    step.scheduled_spec_decode_tokens = {_REQUEST: [0]}
    step.num_common_prefix_blocks = [0] * groups
    return step


def _last_step(groups: int) -> SchedulerOutput:
    """The synthetic request is over."""
    step = SchedulerOutput.make_empty()
    step.finished_req_ids = {_REQUEST}
    step.num_common_prefix_blocks = [0] * groups
    return step


def _fail(why: str) -> NoReturn:
    msg = (
        f"value-steer's start-up self-test failed: {why}. Steering would be dead, so the engine "
        "does not start. Run value-steer-compat to see which vLLM internal moved"
    )
    raise SelfTestError(msg)
