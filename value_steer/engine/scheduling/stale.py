"""Outputs that were on their way when their request was preempted.

From vLLM 0.27 the scheduler itself knows them. Before that it counts on every step in flight giving
a token, which a step that takes a token back does not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(slots=True)
class _Stale:
    """Of one request: outputs still to come, and whether their tokens are lost."""

    outputs: int
    dropped: bool


class StaleOutputs:
    """Keeps track of the steps in flight, for schedulers that do not."""

    def __init__(self) -> None:
        self._in_flight: deque[Collection[str]] = deque()
        self._stale: dict[str, _Stale] = {}

    def scheduled(self, step: Any) -> None:
        """A step is on its way to the worker."""
        self._in_flight.append(step.num_scheduled_tokens.keys())

    def preempted(self, request: Any, *, dropped: bool) -> None:
        """A request begins anew; what is in flight of it is of the time before.

        Args:
            request: The scheduler's.
            dropped: Whether it may run again before that arrives, so that it must not count.
        """
        request.num_output_placeholders = 0
        outputs = sum(request.request_id in step for step in self._in_flight)
        if outputs:
            self._stale[request.request_id] = _Stale(outputs, dropped)

    def finished(self, request_id: str) -> None:
        """A request is over."""
        self._stale.pop(request_id, None)

    def arrived(self, requests: Any, output: Any) -> dict[str, bool]:
        """The output of the oldest step in flight has arrived.

        Returns:
            Who is stale in it, and whether what it has of them is dropped.

        A stale token that counts is given out without a placeholder of its own, so it gets one.
        """
        rows = self._in_flight.popleft() if self._in_flight else ()
        if not self._stale:
            return {}
        found = {name: self._stale[name].dropped for name in rows if name in self._stale}
        for name in found:
            stale, request = self._stale[name], requests.get(name)
            stale.outputs -= 1
            if not stale.outputs:
                del self._stale[name]
            row = output.req_id_to_index.get(name)
            if row is None or request is None or not output.sampled_token_ids:
                continue
            if stale.dropped:
                output.sampled_token_ids[row] = []
                # The host asserts that they come beside a token.
                output.prompt_logprobs_dict.pop(name, None)
            else:
                request.num_output_placeholders += len(output.sampled_token_ids[row])
        return found
