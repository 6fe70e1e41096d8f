"""A scheduler that takes in what the worker says of a step, and says why a request has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from value_steer.engine.delivery.report import Ending, StepReport, report_of
from value_steer.engine.scheduling.mirror import News, open_ledger, tell
from value_steer.engine.scheduling.recording import open_recorder

if TYPE_CHECKING:
    from value_steer.engine.scheduling.outcomes import Outcome


_Host: Any = object
"""The scheduler that follows in the order of bases."""


class SteeredScheduling(_Host):  # type: ignore[misc]  # decided where the classes are put together
    """For one of the host's schedulers, which follows it in the order of bases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = open_ledger(self.vllm_config.instance_id)
        self._recorder = open_recorder(self.vllm_config)
        self._report = StepReport()
        self._endings: dict[str, Ending] = {}
        self._news: list[Outcome] = []
        self._preempted: set[str] = set()
        self._dropped: set[str] = set()  # by schedulers derived from this one

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Schedule a step as the host does; outcomes travel with the message."""
        step = super().schedule(*args, **kwargs)
        if self._news:
            tell(step, News(self._news, self.ledger.counters))
            self._news = []
        return step

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """Take in the output of a step as the host does, and what the worker said of it."""
        self._report = report_of(model_runner_output) or StepReport()
        for gone in self._report.admitted.keys() - self.requests.keys():
            del self._report.admitted[gone]  # aborted while its first step was on its way
        lost = [name for name in self._preempted if self._drops(self.requests[name])]
        self.ledger.take(self._report, model_runner_output.req_ids, lost)
        return super().update_from_output(scheduler_output, model_runner_output)

    def _drops(self, request: Any) -> bool:
        """Whether the host drops what the step that is taken in has of a request."""
        # Until vLLM 0.21, until 0.26, and from 0.27 on.
        if request.request_id in self._dropped or getattr(
            request, "discard_latest_async_tokens", False
        ):
            return True
        if getattr(request, "async_tokens_to_discard", 0):
            return True
        stale = getattr(request, "num_stale_output_tokens", 0)
        return bool(stale and getattr(request, "drop_stale_output", False))

    def _preempt_request(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(request, *args, **kwargs)
        self._preempted.add(request.request_id)

    def _update_request_with_output(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        new_token_ids, stopped = super()._update_request_with_output(request, *args, **kwargs)
        name = request.request_id
        ending, span = self._report.endings.get(name), self._report.spans.get(name)
        if span is not None:
            self.ledger.take_span(name, span, len(new_token_ids))
            if span.ends != len(new_token_ids) - 1:  # it has ended by itself before
                ending = None
        if stopped and ending is not None:
            # What the host would put here is the stop token, or nothing for an end of sequence.
            request.stop_reason = ending.value
            self._endings[name] = ending
        return new_token_ids, stopped

    def _free_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request_id = request.request_id
        self._preempted.discard(request_id)
        ending = self._endings.pop(request_id, None)
        if self._recorder is not None and (one := self.ledger.running(request_id)) is not None:
            self.ledger.count_recording(self._recorder.record(one, request))
        outcome = self.ledger.close(
            request_id, ending, request.num_output_tokens, request.arrival_time
        )
        if outcome is not None:
            self._news.append(outcome)
        return super()._free_request(request, *args, **kwargs)
