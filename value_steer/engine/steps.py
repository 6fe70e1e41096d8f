"""What happens around each step of the model runner once the engine serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.engine.filtering import ValueFilter
    from value_steer.engine.hooks import SteeredSampler
    from value_steer.engine.steering import Steering


class SteeredSteps:
    """Follows the steps of a model runner and lets both modes act on them.

    Attributes:
        steering: Follows the requests, and abstains.
        value_filter: Filters the sampled tokens; ``None`` if the engine does not.
        sampler: Where the decision is armed.
        row_ids: The requests of the batch that is being sampled, in row order.
    """

    def __init__(
        self,
        steering: Steering,
        value_filter: ValueFilter | None,
        sampler: SteeredSampler,
        row_ids: Callable[[], Sequence[str]],
    ) -> None:
        self.steering = steering
        self.value_filter = value_filter
        self.sampler = sampler
        self.row_ids = row_ids

    def begin(self, step: SchedulerOutput) -> bool:
        """See :meth:`value_steer.engine.hooks.StepFollower.begin`."""
        self.steering.begin(step)
        if step.total_num_scheduled_tokens:
            self.sampler.arm(self.steering)
        return self.value_filter is not None and self.value_filter.resume(step)

    def end(self, output: Any) -> Any:
        """See :meth:`value_steer.engine.hooks.StepFollower.end`."""
        if self.value_filter is None:
            return output
        # Model Runner V2 gives a promise of its tokens; a decision needs the tokens.
        output = output.get_output() if hasattr(output, "get_output") else output
        with torch.inference_mode():
            self.value_filter(output)
        return output
