"""A promise of what a step gives out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.v1.outputs import AsyncModelRunnerOutput

if TYPE_CHECKING:
    from vllm.v1.outputs import ModelRunnerOutput

    from value_steer.engine.delivery.outbox import Delivery, Outbox


class LateOutput(AsyncModelRunnerOutput):  # type: ignore[misc]  # the host's
    """The host's promise of a step's output, passed through the outbox when it is redeemed."""

    def __init__(self, promise: AsyncModelRunnerOutput, outbox: Outbox, delivery: Delivery) -> None:
        self._promise = promise
        self._outbox = outbox
        self._delivery = delivery

    def get_output(self) -> ModelRunnerOutput:
        """Wait for the host's copies; the output as the scheduler gets it."""
        return self._outbox.pass_on(self._promise.get_output(), self._delivery)

    def get_kv_connector_output(self) -> Any:
        """The KV connector's output in the host's promise (from vLLM 0.33)."""
        return self._promise.get_kv_connector_output()
