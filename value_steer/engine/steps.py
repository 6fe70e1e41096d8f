"""The work around each step of the model runner once the engine serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from value_steer.engine.delivery.outbox import Outbox
from value_steer.engine.delivery.promise import LateOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.engine.delivery.lag import Lag
    from value_steer.engine.hooks import SteeredSampler
    from value_steer.engine.requests import RequestTable
    from value_steer.engine.scheduling.mirror import Mirror
    from value_steer.engine.steering import Steering


class SteeredSteps:
    """Follows the steps of a model runner and lets both modes act on them.

    Attributes:
        steering: Follows the requests and decides.
        lag: Corrects the scheduler's messages.
        mirror: Learns from them what became of requests.
        sampler: Where the decision is armed.
        row_ids: The requests of the batch that is being sampled, in row order.
        outbox: Tokens that are not given out yet.
    """

    def __init__(
        self,
        steering: Steering,
        lag: Lag,
        mirror: Mirror,
        sampler: SteeredSampler,
        row_ids: Callable[[], Sequence[str]],
    ) -> None:
        self.steering = steering
        self.lag = lag
        self.mirror = mirror
        self.sampler = sampler
        self.row_ids = row_ids
        self.outbox = Outbox()

    @property
    def table(self) -> RequestTable:
        """The live requests."""
        return self.steering.table

    def begin(self, step: SchedulerOutput) -> SchedulerOutput:
        """See :meth:`value_steer.engine.hooks.StepFollower.begin`."""
        self.mirror.take(step)
        step = self.lag.correct(step)
        self.steering.begin(step)
        if step.total_num_scheduled_tokens:
            self.sampler.arm(self.steering)
        return step

    def end(self, output: Any) -> Any:
        """See :meth:`value_steer.engine.hooks.StepFollower.end`."""
        delivery, self.steering.delivery = self.steering.delivery, None
        if delivery is None or output is None:
            return output
        if hasattr(output, "get_output"):  # a promise: of Model Runner V2, or asynchronous
            return LateOutput(output, self.outbox, delivery)
        return self.outbox.pass_on(output, delivery)


class PassedOnSteps:
    """Follows the steps of a pipeline stage that samples nothing.

    Attributes:
        table: Says what applies to the requests that come now; it holds none.
        mirror: Learns from the scheduler's messages what became of requests.
    """

    def __init__(self, table: RequestTable, mirror: Mirror) -> None:
        self.table = table
        self.mirror = mirror

    def begin(self, step: SchedulerOutput) -> SchedulerOutput:
        """See :meth:`value_steer.engine.hooks.StepFollower.begin`."""
        self.mirror.take(step)
        return step

    def end(self, output: Any) -> Any:
        """See :meth:`value_steer.engine.hooks.StepFollower.end`: no token is in it."""
        return output
