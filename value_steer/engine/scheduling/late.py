"""A scheduler of an engine whose worker gives tokens out one step late and may take one back.

To the host's asynchronous scheduler that looks nearly like its own work: a token that was sampled
and is not known yet is a placeholder. What is added is a step that takes a token back, and room for
the step that judges the last token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from value_steer.engine.delivery.report import StepReport, report_of
from value_steer.engine.scheduling.stale import StaleOutputs

if TYPE_CHECKING:
    from collections.abc import Iterator


_Host: Any = object
"""The scheduler that follows in the order of bases."""


class LateScheduling(_Host):  # type: ignore[misc]  # decided where the classes are put together
    """For the host's asynchronous scheduler, which follows it in the order of bases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: set[str] = set()
        self._stale = StaleOutputs()
        self._resetting = False

    def add_request(self, request: Any) -> None:
        """Add a request, which cannot ask for more than its sequence has room for.

        The host relies on that only where it looks at a token that was given out.
        """
        room = self.max_model_len - request.num_prompt_tokens
        request.max_tokens = min(request.max_tokens, max(room, 1))
        super().add_request(request)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Schedule a step, with the room that judging the last token of a sequence needs."""
        raised = list(self._last_tokens())
        for request, more in raised:
            request.max_tokens += more
        # The last position that a sequence may have is run as well, since its token is judged.
        self.max_model_len += 1
        try:
            step = super().schedule(*args, **kwargs)
        finally:
            self.max_model_len -= 1
            for request, more in raised:
                request.max_tokens -= more
        self._stale.scheduled(step)
        return step

    def _last_tokens(self) -> Iterator[tuple[Any, int]]:
        """Late requests that are about to reach their last token, and by how much to let them.

        The host skips a request once ``computed + 2 - placeholders >= prompt + max_tokens``, when
        its last token is sampled. Here that token has to be judged: ``computed >= prompt +
        max_tokens``.
        """
        for request in self.running:
            if request.request_id not in self._late or not request.num_output_placeholders:
                continue
            if request.num_computed_tokens + 2 >= request.num_prompt_tokens + request.max_tokens:
                yield request, 2 - request.num_output_placeholders

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """Take in the output of a step; who got no token takes its last position again."""
        stale = self._stale.arrived(self.requests, model_runner_output)
        self._dropped = {name for name, dropped in stale.items() if dropped}
        report = report_of(model_runner_output) or StepReport()
        self._late.update(
            name
            for name, admitted in report.admitted.items()
            if admitted.vfd_threshold is not None and name in self.requests
        )
        again = [
            request
            for name in report.repeated
            if name not in stale
            and (request := self.requests.get(name)) is not None
            # From vLLM 0.27 the host counts what is stale itself.
            and not getattr(request, "num_stale_output_tokens", 0)
        ]
        given = super().update_from_output(scheduler_output, model_runner_output)
        for request in again:
            if request.num_output_placeholders and not request.is_finished():
                request.num_computed_tokens -= 1
                request.num_output_placeholders -= 1
        return given

    def _preempt_request(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(request, *args, **kwargs)
        if not hasattr(request, "num_stale_output_tokens"):
            self._stale.preempted(request, dropped=self._resetting)

    def reset_prefix_cache(self, *args: Any, **kwargs: Any) -> bool:
        """Reset the cache as the host does; running requests may begin anew."""
        running = list(self.running)
        self._resetting = True
        try:
            done: bool = super().reset_prefix_cache(*args, **kwargs)
        finally:
            self._resetting = False
        for request in running:
            # Until vLLM 0.22 the host would drop the next token, whichever that is.
            if getattr(request, "discard_latest_async_tokens", False):
                request.discard_latest_async_tokens = False
        return done

    def _free_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        self._late.discard(request.request_id)
        self._stale.finished(request.request_id)
        return super()._free_request(request, *args, **kwargs)
