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
class Ahead:
    """A decode step that has been run.

    Attributes:
        ids: The requests, in row order.
        positions: The position of each row's token in its sequence.
        feature: ``[rows, hidden]``.
        state: What the host keeps between the two calls of a step.
    """

    ids: list[str]
    positions: dict[str, int]
    feature: Tensor
    state: Any


class RunAhead:
    """Runs decode steps of its own and hands them to the host when it gets to them.

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

    def drop(self) -> None:
        """Forget what was run ahead; the host will run that step itself."""
        self._kept = None

    def without(self, request_id: str) -> None:
        """One request does not go on as it was run ahead."""
        if self._kept is not None:
            del self._kept.positions[request_id]

    def run(self, positions: dict[str, int], outputs: list[int]) -> Ahead:
        """Run one decode step on the tokens that the requests end in now.

        Args:
            positions: The requests and the position of that token in the sequence of each.
            outputs: Response tokens of each, that one included.
        """
        self._check_slots(positions)
        self._execute(self._step(positions, outputs))
        runner = self._runner
        state, runner.execute_model_state = runner.execute_model_state, None
        ids = list(runner.input_batch.req_ids)
        feature = self._tap.feature
        assert feature is not None  # noqa: S101  (the step above computed its logits)
        self._kept = Ahead(ids, positions, feature, state)
        return self._kept

    def resume(self, step: SchedulerOutput) -> bool:
        """Give the host what was run ahead if ``step`` is that step, or a part of it.

        Returns:
            Whether it did; if not, the host must run the step itself.
        """
        ahead, self._kept = self._kept, None
        if ahead is None or not _continues(ahead, step):
            return False
        runner = self._runner
        with torch.inference_mode():
            runner._update_states(step)  # noqa: SLF001
            state, self._tap.feature = _rows(ahead, runner.input_batch.req_ids)
        runner.execute_model_state = state._replace(scheduler_output=step)
        return True

    def book(self, request_id: str, position: int, token: int) -> None:
        """Let a sequence end in ``token``, which replaces the one booked at its last position."""
        runner = self._runner
        row = runner.input_batch.req_id_to_index[request_id]
        runner.input_batch.token_ids_cpu[row, position] = token
        runner.requests[request_id].output_token_ids[-1] = token

    def _check_slots(self, positions: dict[str, int]) -> None:
        for request_id, position in positions.items():
            if any(position % size == 0 for size in self._sizes):
                blocks = self._runner.requests[request_id].block_ids
                counts = (len(ids) for ids in blocks)
                require_slots(zip(counts, self._sizes, strict=True), position)

    def _step(self, positions: dict[str, int], outputs: list[int]) -> SchedulerOutput:
        cached = CachedRequestData.make_empty()
        cached.req_ids = list(positions)
        cached.num_computed_tokens = list(positions.values())
        cached.num_output_tokens = outputs
        cached.new_block_ids = [None] * len(positions)
        step = SchedulerOutput.make_empty()
        step.scheduled_cached_reqs = cached
        step.num_scheduled_tokens = dict.fromkeys(positions, 1)
        step.total_num_scheduled_tokens = len(positions)
        step.num_common_prefix_blocks = [0] * len(self._groups)
        return step


def _continues(ahead: Ahead, step: SchedulerOutput) -> bool:
    """Whether a step asks for nothing but rows that were run ahead."""
    cached = step.scheduled_cached_reqs
    positions = ahead.positions
    return (
        not step.scheduled_new_reqs
        and not cached.resumed_req_ids
        and not step.scheduled_encoder_inputs
        and not step.scheduled_spec_decode_tokens
        and 0 < step.total_num_scheduled_tokens == len(cached.req_ids)
        and [positions.get(name) for name in cached.req_ids] == cached.num_computed_tokens
    )


def _rows(ahead: Ahead, ids: list[str]) -> tuple[Any, Tensor]:
    """The state and the features for a batch of these requests, in this order."""
    state = ahead.state
    if ids == ahead.ids:
        return state, ahead.feature
    row_of = {name: row for row, name in enumerate(ahead.ids)}
    rows = torch.tensor([row_of[name] for name in ids], device=ahead.feature.device)
    picked = state._replace(
        logits=state.logits[rows],
        hidden_states=state.hidden_states[rows],
        sample_hidden_states=state.sample_hidden_states[rows],
    )
    return picked, ahead.feature[rows]
