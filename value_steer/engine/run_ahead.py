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
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from value_steer.engine.hooks import FeatureTap
    from value_steer.engine.looks import Ends, Look
    from value_steer.engine.runners import ModelRunner


@dataclass(frozen=True, slots=True)
class Ahead:
    """The decode step that was run ahead, and what it was run on."""

    ends: Ends
    look: Look


class RunAhead:
    """Runs decode steps of its own and hands them to the host when it gets to them.

    No logits are computed when a step is run, but when it is handed over: by then the row of a
    request that repeats its step holds the hidden state that it repeats it from.

    Args:
        runner: The host's model runner.
        execute: The first of the two calls of a step.
        tap: Where the runner computes its logits.
        block_sizes: Tokens per block in each cache group.
    """

    def __init__(
        self,
        runner: ModelRunner,
        execute: Callable[[SchedulerOutput], Any],
        tap: FeatureTap,
        block_sizes: Sequence[int],
    ) -> None:
        self._runner = runner
        self._execute = execute
        self._tap = tap
        self._sizes = block_sizes
        self._kept: Ahead | None = None

    @property
    def kept(self) -> Ahead | None:
        """What was run ahead last, and neither dropped nor handed over since."""
        return self._kept

    def drop(self) -> None:
        """Forget what was run ahead; the host will run that step itself."""
        self._kept = None

    def without(self, request_id: str) -> None:
        """One request does not go on as it was run ahead."""
        del self._last().ends.positions[request_id]

    def repeat(self, request_id: str, feature: Tensor) -> None:
        """One request does its last step again: it does not end in the token that was run.

        Args:
            request_id: The request.
            feature: The hidden state that its last token was sampled from, ``[hidden]``.
        """
        last = self._last()
        last.ends.positions[request_id] -= 1
        position = last.ends.positions[request_id]
        self._runner.take_back(request_id, position, last.look, feature)

    def run(self, ends: Ends) -> Look:
        """Run the decode step on the tokens that the requests end in now, and keep it."""
        self._check_slots(ends.positions)
        self._tap.holding = True
        try:
            self._execute(self._step(ends))
        finally:
            self._tap.holding = False
        look = self._runner.take_look()
        self._kept = Ahead(ends, look)
        return look

    def resume(self, step: SchedulerOutput) -> bool:
        """Give the host what was run ahead if ``step`` is that step, or a part of it.

        Returns:
            Whether it did; if not, the host must run the step itself.
        """
        ahead, self._kept = self._kept, None
        if (
            ahead is None
            or not _continues(ahead.ends, step)
            or not self._runner.can_reinstate(ahead.look, step.scheduled_cached_reqs.req_ids)
        ):
            return False
        with torch.inference_mode():
            self._runner.reinstate(ahead.look, step)
        return True

    def book(self, request_id: str, position: int, token: int) -> None:
        """Let a sequence end in ``token``, which replaces the one booked at its last position."""
        self._runner.book(request_id, position, token)

    def _last(self) -> Ahead:
        assert self._kept is not None  # noqa: S101  (asked between ``run`` and ``resume`` only)
        return self._kept

    def _check_slots(self, positions: dict[str, int]) -> None:
        for request_id, position in positions.items():
            if any(position % size == 0 for size in self._sizes):
                counts = self._runner.blocks(request_id)
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
        step.num_common_prefix_blocks = [0] * len(self._sizes)
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
