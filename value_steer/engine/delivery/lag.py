"""The scheduler's message where it runs ahead of what the worker has decided.

With asynchronous scheduling a step is scheduled before the one ahead of it is known. A request
whose token was refused there is scheduled one position too far: the worker runs it where it stands.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vllm.v1.core.sched.output import SchedulerOutput


class Lag:
    """Where requests stand whose last position is run again.

    Args:
        held_token: The token that a live request ends in, if the scheduler does not know it yet.
    """

    def __init__(self, held_token: Callable[[str], int | None]) -> None:
        self._behind: dict[str, int] = {}
        self.held_token = held_token

    def run_again(self, request_id: str, position: int) -> None:
        """The next step of a request begins at ``position``, whatever the scheduler believes."""
        self._behind[request_id] = position

    def forget(self, request_id: str) -> None:
        """A request is over, or begins anew."""
        self._behind.pop(request_id, None)

    def correct(self, step: SchedulerOutput) -> SchedulerOutput:
        """The step as it has to be run; a copy where that differs, since the scheduler keeps its.

        Raises:
            SteeringError: The scheduler is further ahead than one step.
        """
        cached = step.scheduled_cached_reqs
        for name in cached.resumed_req_ids:
            self.forget(name)
        for new in step.scheduled_new_reqs:
            self.forget(new.req_id)
        computed = self._corrected(cached) if self._behind else {}
        tails = self._tails(cached)
        if not computed and not tails:
            return step
        return _changed(step, computed, tails)

    def _corrected(self, cached: Any) -> dict[int, int]:
        """Index in the message to the position where the request stands, where it is behind."""
        found = {}
        for index, name in enumerate(cached.req_ids):
            # Whoever is refused in this step as well is noted anew.
            position = self._behind.pop(name, None)
            if position is None:
                continue
            lag = cached.num_computed_tokens[index] - position
            if lag == 1:
                found[index] = position
            elif lag != 0:
                msg = (
                    f"request {name} stands at position {position} and is scheduled at "
                    f"{cached.num_computed_tokens[index]}, more than one step ahead"
                )
                raise SteeringError(msg)
        return found

    def _tails(self, cached: Any) -> dict[str, list[int]]:
        """The tokens of requests that come back into the batch, with the one they end in.

        The host rebuilds them from the scheduler's list, which lacks what is not given out yet.
        """
        found = {}
        for name, tokens in cached.all_token_ids.items():
            if name not in cached.resumed_req_ids and (token := self.held_token(name)) is not None:
                found[name] = [*tokens, token]
        return found


def _changed(
    step: SchedulerOutput, computed: Mapping[int, int], tails: Mapping[str, list[int]]
) -> SchedulerOutput:
    step = copy.copy(step)
    step.scheduled_cached_reqs = cached = copy.copy(step.scheduled_cached_reqs)
    if computed:
        cached.num_computed_tokens = list(cached.num_computed_tokens)
        cached.num_output_tokens = list(cached.num_output_tokens)
        for index, position in computed.items():
            cached.num_computed_tokens[index] = position
            cached.num_output_tokens[index] -= 1
    if tails:
        cached.all_token_ids = {**cached.all_token_ids, **tails}
    return step
