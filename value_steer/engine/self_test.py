"""Proof, before the first request is served, that the seams into the runner are reached.

A synthetic request goes through the worker's own two calls of a step with a decision that is
forced. If the token that comes out is not the forced one, a hook is dead and steering would be
too: the engine must not start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.core.sched.output import NewRequestData, SchedulerOutput

from value_steer.errors import SelfTestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from value_steer.engine.hooks import SteeredSampler
    from value_steer.value_probe import ValueHead

_REQUEST = "value-steer-self-test"


class ForcedDecision:
    """Replaces the sampled token by its successor, and notes what it saw."""

    def __init__(self, head: ValueHead) -> None:
        self._head = head
        self.value: float | None = None
        self.forced: int | None = None

    def __call__(self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        """Sample, score the feature, force the token."""
        output = sample()
        if feature is not None and len(feature) == len(logits):
            self.value = self._head.p(feature)[0].item()
        tokens = (output.sampled_token_ids + 1) % logits.shape[-1]
        self.forced = int(tokens[0, 0])
        output.sampled_token_ids = tokens.to(output.sampled_token_ids.dtype)
        return output


def run(worker: Any, sampler: SteeredSampler, head: ValueHead) -> None:
    """Put one synthetic request through ``worker`` and check what comes out.

    Raises:
        SelfTestError: Names the seam that was not reached.
    """
    decision = ForcedDecision(head)
    groups = len(worker.model_runner.kv_cache_config.kv_cache_groups)
    emitted = _emitted(worker, _first_step(groups), sampler, decision)
    _finish(worker, groups)
    if decision.forced is None:
        _fail("the model runner did not call its sampler through value-steer")
    if decision.value is None:
        _fail("the model runner did not compute its logits through the tapped compute_logits")
    if not 0.0 <= decision.value <= 1.0:
        _fail(f"the head gives {decision.value} on a hidden state of this model")
    if emitted != decision.forced:
        _fail(f"token {decision.forced} was decided and token {emitted} came out of the engine")


def _emitted(
    worker: Any, step: SchedulerOutput, sampler: SteeredSampler, decision: ForcedDecision
) -> int | None:
    sampler.arm(decision)
    output = worker.run_unsteered(step)
    if hasattr(output, "get_output"):  # asynchronous scheduling copies the tokens later
        output = output.get_output()
    tokens = output.sampled_token_ids[0]
    return int(tokens[0]) if len(tokens) else None


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


def _finish(worker: Any, groups: int) -> None:
    step = SchedulerOutput.make_empty()
    step.finished_req_ids = {_REQUEST}
    step.num_common_prefix_blocks = [0] * groups
    with torch.inference_mode():
        worker.run_unsteered(step)


def _fail(why: str) -> NoReturn:
    msg = (
        f"value-steer's start-up self-test failed: {why}. Steering would be dead, so the engine "
        "does not start. Run value-steer-compat to see which vLLM internal moved"
    )
    raise SelfTestError(msg)
