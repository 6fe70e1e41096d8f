"""The same middleware, for a server that is told of it by ``VLLM_PLUGINS``."""

from __future__ import annotations

from typing import Any

from value_steer.http.middleware import Steering


class SteeringEndpoints:
    """An endpoint plug-in of vLLM's, which it has from 0.26 on.

    vLLM loads it only where ``VLLM_PLUGINS`` names ``value_steer``; ``--middleware`` needs none
    then, and does no harm.

    Attributes:
        name: What vLLM calls it.
        required_tasks: Servers that generate nothing have no use for it.
    """

    name = "value_steer"
    required_tasks = ("generate",)

    def attach_router(self, app: Any) -> None:  # noqa: ANN401  (the host's)
        """Put the middleware into the application of a server that is being built."""
        app.add_middleware(Steering)

    async def init_state(self, engine_client: object, state: object, args: object) -> None:
        """Nothing is kept: the middleware finds the engine in the application's state."""
