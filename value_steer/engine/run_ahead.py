"""The next decode step, run before the scheduler asks for it.

Its hidden states are the features of the tokens just sampled. If those are committed, its result
is the next step's, and nothing was computed in vain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.core.sched.output import CachedRequestData, SchedulerOutput

from value_steer.engine.lookahead import require_slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from value_steer.engine.hooks import FeatureTap


@dataclass(frozen=True, slots=True)
class Ends:
    """Sequences and the token that each of them ends in, as one decode step takes them.

    Attributes:
        positions: Request id to the position of that token.
        outputs: Response tokens of each request, that one included, in the same order.
    """

    positions: dict[str, int]
    outputs: list[int]


@dataclass(frozen=True, slots=True)
class Look:
    """What a decode step has shown.

    Attributes:
        ids: The requests, in row order.
        feature: ``[rows, hidden]``, what ``lm_head`` would consume.
        state: What the host keeps between the two calls of a step, its logits left out.
    """

    ids: list[str]
    feature: Tensor
    state: Any


@dataclass(frozen=True, slots=True)
class Ahead:
    """The decode step that was run ahead, and what it was run on."""

    ends: Ends
    look: Look


class RunAhead:
    """Runs decode steps of its own and hands them to the host when it gets to them.

    The logits are left out while tokens are on trial, and computed once from the hidden states of
    the tokens that are committed.

    Args:
        runner: The host's model runner.
        execute: The first of the two calls of a step.
        tap: Where the runner computes its logits.
    """

    def __init__(
        self, runner: Any, execute: Callable[[SchedulerOutput], Any], tap: FeatureTap
    ) -> None:
        self._runner = runner
        self._execute = execute
        self._tap = tap
        self._groups = runner.kv_cache_config.kv_cache_groups
        self._sizes = [group.kv_cache_spec.block_size for group in self._groups]
        self._kept: Ahead | None = None

    @property
    def kept(self) -> Ahead:
        """What was run ahead last, and not dropped since."""
        assert self._kept is not None  # noqa: S101  (asked between ``run`` and ``resume`` only)
        return self._kept

    def drop(self) -> None:
        """Forget what was run ahead; the host will run that step itself."""
        self._kept = None

    def without(self, request_id: str) -> None:
        """One request does not go on as it was run ahead."""
        ends = self.kept.ends
        del ends.outputs[list(ends.positions).index(request_id)]
        del ends.positions[request_id]

    def run(self, ends: Ends) -> Look:
        """Run the decode step on the tokens that the requests end in now, and keep it."""
        self._check_slots(ends.positions)
        self._kept = Ahead(ends, self.look(ends))
        return self._kept.look

    def look(self, ends: Ends) -> Look:
        """Run a decode step without keeping it."""
        runner, tap = self._runner, self._tap
        tap.holding = True
        try:
            self._execute(self._step(ends))
        finally:
            tap.holding = False
        state, runner.execute_model_state = runner.execute_model_state, None
        feature, tap.feature = tap.feature, None
        assert feature is not None  # noqa: S101  (the step above went through the tap)
        return Look(list(runner.input_batch.req_ids), feature, state)

    def resume(self, step: SchedulerOutput) -> bool:
        """Give the host what was run ahead if ``step`` is that step, or a part of it.

        Returns:
            Whether it did; if not, the host must run the step itself.
        """
        ahead, self._kept = self._kept, None
        if ahead is None or not _continues(ahead.ends, step):
            return False
        runner = self._runner
        with torch.inference_mode():
            runner._update_states(step)  # noqa: SLF001
            feature = _in_order(ahead.look, runner.input_batch.req_ids)
            logits = self._tap(feature)
        runner.execute_model_state = ahead.look.state._replace(
            scheduler_output=step,
            logits=logits,
            hidden_states=feature,
            sample_hidden_states=feature,
        )
        return True

    def book(self, request_id: str, position: int, token: int) -> None:
        """Let a sequence end in ``token``, which replaces the one booked at its last position."""
        runner = self._runner
        row = runner.input_batch.req_id_to_index.get(request_id)
        if row is not None:  # a request that was ended and is taken up again has none yet
            runner.input_batch.token_ids_cpu[row, position] = token
        runner.requests[request_id].output_token_ids[-1] = token

    def _check_slots(self, positions: dict[str, int]) -> None:
        for request_id, position in positions.items():
            if any(position % size == 0 for size in self._sizes):
                blocks = self._runner.requests[request_id].block_ids
                counts = (len(ids) for ids in blocks)
                require_slots(zip(counts, self._sizes, strict=True), position)

    def _step(self, ends: Ends) -> SchedulerOutput:
        positions = ends.positions
        cached = CachedRequestData.make_empty()
        cached.req_ids = list(positions)
        cached.num_computed_tokens = list(positions.values())
        cached.num_output_tokens = ends.outputs
        cached.new_block_ids = [None] * len(positions)
        step = SchedulerOutput.make_empty()
        step.scheduled_cached_reqs = cached
        step.num_scheduled_tokens = dict.fromkeys(positions, 1)
        step.total_num_scheduled_tokens = len(positions)
        step.num_common_prefix_blocks = [0] * len(self._groups)
        return step


def _continues(ends: Ends, step: SchedulerOutput) -> bool:
    """Whether a step asks for nothing but rows that were run ahead."""
    cached = step.scheduled_cached_reqs
    positions = ends.positions
    return (
        not step.scheduled_new_reqs
        and not cached.resumed_req_ids
        and not step.scheduled_encoder_inputs
        and not step.scheduled_spec_decode_tokens
        and 0 < step.total_num_scheduled_tokens == len(cached.req_ids)
        and [positions.get(name) for name in cached.req_ids] == cached.num_computed_tokens
    )


def _in_order(look: Look, ids: list[str]) -> Tensor:
    """The features of these requests, ``[rows, hidden]``, in this order."""
    if ids == look.ids:
        return look.feature
    row_of = {name: row for row, name in enumerate(look.ids)}
    rows = torch.tensor([row_of[name] for name in ids], device=look.feature.device)
    return look.feature[rows]
