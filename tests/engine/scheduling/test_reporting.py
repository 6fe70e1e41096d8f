"""What the worker says of a step, over a host that does as it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from value_steer.engine.delivery.report import Admitted, Ending, Span, StepReport, attach
from value_steer.engine.scheduling.reporting import SteeredScheduling


class Host:
    """Takes tokens up to a stop, and drops those of the time before a reset as releases do."""

    def __init__(self) -> None:
        self.vllm_config = SimpleNamespace(instance_id="reporting", additional_config={})
        self.requests: dict[str, Any] = {}
        self.waiting: list[Any] = []

    def update_from_output(self, step: Any, output: Any) -> None:
        """Give each request its tokens."""
        del step
        for name, tokens in zip(output.req_ids, output.sampled_token_ids, strict=True):
            request: Any = self.requests[name]
            if getattr(request, "drop_stale_output", False):
                request.num_stale_output_tokens = 0
                continue
            _, stopped = self._update_request_with_output(request, tokens)
            if stopped:
                self._free_request(request)

    def _update_request_with_output(
        self, request: Any, tokens: list[int]
    ) -> tuple[list[int], bool]:
        for name in ("discard_latest_async_tokens", "async_tokens_to_discard"):
            if getattr(request, name, False):
                setattr(request, name, 0)
                return [], False
        for count, token in enumerate(tokens, start=1):
            request.num_output_tokens += 1
            if token in request.stops:
                request.stop_reason = token
                del tokens[count:]
                return tokens, True
        return tokens, False

    def _preempt_request(self, request: Any) -> None:
        self.waiting.append(request)

    def _free_request(self, request: Any) -> None:
        del self.requests[request.request_id]


class Steered(SteeredScheduling, Host):
    """The part over it."""


def _request(**changes: Any) -> Any:
    return SimpleNamespace(
        request_id="a",
        stops={1},
        stop_reason=None,
        num_output_tokens=0,
        arrival_time=3.5,
        **changes,
    )


def _step(scheduler: Steered, tokens: list[int], **report: Any) -> None:
    output = SimpleNamespace(req_ids=["a"], sampled_token_ids=[tokens])
    attach(output, StepReport(**report))
    scheduler.update_from_output(None, output)


def _span(*values: float, ends: int | None = None, position: int = 4) -> dict[str, Any]:
    endings = {} if ends is None else {"a": Ending.ABSTAINED}
    span = Span(position, np.array(values, np.float32), ends)
    return {"spans": {"a": span}, "endings": endings}


@pytest.mark.parametrize(
    ("tokens", "stops", "reason", "judged"),
    [
        ([5, 6, 1], {1}, "value_steer:abstained", 3),
        ([5, 6, 1], {1, 6}, 6, 2),
        ([5, 6, 7], {7}, "value_steer:abstained", 3),
    ],
    ids=["cut", "by itself before", "at the token that cuts"],
)
def test_a_head_ends_what_has_not_ended_by_itself(
    tokens: list[int], stops: set[int], reason: object, judged: int
) -> None:
    """Tokens behind a stop are dropped, and so is what the head said of them."""
    scheduler, request = Steered(), _request()
    request.stops, scheduler.requests["a"] = stops, request

    _step(scheduler, tokens, admitted={"a": Admitted(0.5)}, **_span(0.9, 0.8, 0.1, ends=2))

    assert request.stop_reason == reason
    (outcome,) = scheduler.ledger.outcomes()
    assert outcome.judged == judged
    assert outcome.abstained is (reason == "value_steer:abstained")
    assert outcome.value == pytest.approx((0.9, 0.8, 0.1)[judged - 1])


@pytest.mark.parametrize(
    "changes",
    [
        {"discard_latest_async_tokens": True},
        {"async_tokens_to_discard": 1},
        {"drop_stale_output": True, "num_stale_output_tokens": 1},
    ],
    ids=["until 0.21", "until 0.26", "from 0.27"],
)
@pytest.mark.parametrize("several", [False, True])
def test_what_a_reset_drops_is_not_told(changes: dict[str, Any], *, several: bool) -> None:
    """Neither of one token nor of several; the step that comes again is."""
    scheduler, request = Steered(), _request()
    scheduler.requests["a"] = request
    _step(scheduler, [5], admitted={"a": Admitted(0.5, keeps_values=True)})
    vars(request).update(changes)
    scheduler._preempt_request(request)

    def said(value: float) -> dict[str, Any]:
        if several:
            return _span(value)
        return {"p_good": np.array([value], np.float32), "positions": np.array([4])}

    _step(scheduler, [6], **said(0.25))
    request.drop_stale_output = False
    _step(scheduler, [7], **said(0.75))

    scheduler._free_request(request)
    (outcome,) = scheduler.ledger.outcomes()
    assert outcome.values == (0.75,)


def test_what_was_on_its_way_when_a_request_was_preempted_is_told_if_it_counts() -> None:
    """The host gives out its token, and the position is not run again."""
    scheduler, request = Steered(), _request(num_stale_output_tokens=1)
    scheduler.requests["a"] = request
    scheduler._preempt_request(request)

    report = {"p_good": np.array([0.25], np.float32), "positions": np.array([4])}
    _step(scheduler, [5], admitted={"a": Admitted(0.5)}, **report)

    scheduler._free_request(request)
    (outcome,) = scheduler.ledger.outcomes()
    assert outcome.judged == 1
    assert not scheduler._preempted
