"""The negative control: a plug-in that loads, passes every check, and never acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from value_steer.engine.host import worker_base
from value_steer.worker import ValueSteerWorker

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput


class DeadWorker(ValueSteerWorker):
    """Does everything that value-steer does but decide, as if the hooks had silently come off."""

    def execute_model(self, scheduler_output: SchedulerOutput) -> Any:
        """Run the step as the host would, with no decision armed."""
        return worker_base().execute_model(self, scheduler_output)

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Sample the batch as the host would, and commit whatever it drew."""
        return worker_base().sample_tokens(self, grammar_output)
