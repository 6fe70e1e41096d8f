"""What the worker says of a step, over a host that does as it is told."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from value_steer.engine.delivery.report import Admitted, Ending, Span, StepReport, attach
from value_steer.engine.scheduling.mirror import Mirror
from value_steer.engine.scheduling.recording import Recording
from value_steer.engine.scheduling.reporting import SteeredScheduling
from value_steer.errors import SettingsError
from value_steer.value_probe import HeadCard, SettingsFingerprint, ValueHead, save_value_head

if TYPE_CHECKING:
    from pathlib import Path


class Host:
    """Takes tokens up to a stop, and drops those of the time before a reset as releases do."""

    def __init__(self, additional_config: Any = None, *, instance: str = "reporting") -> None:
        self.vllm_config = SimpleNamespace(
            instance_id=instance, additional_config=additional_config or {}, model_config=None
        )
        self.requests: dict[str, Any] = {}
        self.waiting: list[Any] = []
        self.updated: list[Any] = []

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """What it was asked with, which releases differ in."""
        return SimpleNamespace(args=args, kwargs=kwargs)

    def update_from_output(self, step: Any, output: Any) -> None:
        """Give each request its tokens."""
        self.updated.append(step)
        for name, tokens in zip(output.req_ids, output.sampled_token_ids, strict=True):
            request: Any = self.requests[name]
            if getattr(request, "drop_stale_output", False):
                request.num_stale_output_tokens = 0
                continue
            _, stopped = self._update_request_with_output(request, tokens)
            if stopped:
                self._free_request(request)

    def _update_request_with_output(
        self, request: Any, tokens: list[int], *args: Any, **kwargs: Any
    ) -> tuple[list[int], bool]:
        self.asked = args, kwargs
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

    def _preempt_request(self, request: Any, *args: Any, **kwargs: Any) -> None:
        self.waiting.append((request, args, kwargs))

    def _free_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        del self.requests[request.request_id]
        return request, args, kwargs


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


def test_the_host_is_called_as_it_is() -> None:
    """Releases differ in what they give these, and in what they want back."""
    scheduler, request = Steered({}, instance="another"), _request()
    scheduler.requests["a"] = request

    step = scheduler.schedule(1, throttle=2)
    scheduler._preempt_request(request, 3.5, drop=True)
    output = SimpleNamespace(req_ids=[], sampled_token_ids=[])
    scheduler.update_from_output(step, output)

    assert (step.args, step.kwargs) == ((1,), {"throttle": 2})
    assert scheduler.vllm_config.instance_id == "another"
    assert scheduler.waiting == [(request, (3.5,), {"drop": True})]
    assert scheduler.updated == [step]
    assert scheduler._update_request_with_output(request, [5], 6, stale=7) == ([5], False)
    assert scheduler.asked == ((6,), {"stale": 7})
    assert scheduler._free_request(request, 4, delay=5) == (request, (4,), {"delay": 5})


def _finished(scheduler: Steered) -> Any:
    """A request that runs for one step."""
    request = _request()
    scheduler.requests["a"] = request
    _step(scheduler, [1], admitted={"a": Admitted(0.5, control=True)})
    return request


def test_what_became_of_requests_travels_with_the_next_message() -> None:
    """Once; to whoever reads it, be it a worker in this process or elsewhere."""
    scheduler = Steered(instance="news")
    _finished(scheduler)
    near, far = Mirror("news"), Mirror("of another process")
    (outcome,) = scheduler.ledger.outcomes()

    first, second = scheduler.schedule(), scheduler.schedule()
    far.take(first)
    far.take(second)

    assert outcome.arrived == 3.5
    assert near.outcomes() == far.outcomes() == [outcome]
    assert near.counters == far.counters == scheduler.ledger.counters
    assert not hasattr(second, "value_steer_news")
    _finished(scheduler)
    far.take(scheduler.schedule())
    assert far.counters.finished == 2


def test_a_request_that_no_worker_spoke_of_is_no_news() -> None:
    """It was aborted before its first step."""
    scheduler, request = Steered(), _request()
    scheduler.requests["a"] = request
    scheduler._free_request(request)

    assert scheduler.ledger.outcomes() == []
    assert not hasattr(scheduler.schedule(), "value_steer_news")


def test_an_answer_is_recorded_when_its_request_is_over() -> None:
    """With what was seen of it, by an engine that records; what comes of that is counted."""
    scheduler = Steered()
    recorded = []

    def record(one: Any, request: Any) -> Recording:
        recorded.append((one.admitted.control, request))
        return Recording(answers=1)

    scheduler._recorder = SimpleNamespace(record=record)  # type: ignore[assignment]
    request = _finished(scheduler)
    unknown = _request()
    scheduler.requests["a"] = unknown
    scheduler._free_request(unknown)

    assert recorded == [(True, request)]
    assert scheduler.ledger.counters.recorded == 1


def test_an_engine_that_records_begins_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first request; one that cannot is not built."""
    head = tmp_path / "head.pt"
    save_value_head(head, ValueHead(4), HeadCard(hidden_size=4))
    host = SimpleNamespace(fingerprint=lambda _: SettingsFingerprint())
    monkeypatch.setitem(sys.modules, "value_steer.engine.host", host)
    asked = {
        "abstain": {"value_head_path": str(head), "threshold": 0.5},
        "record": {"directory": str(tmp_path), "share": 1},
    }

    Steered(asked, instance="writes")

    assert (tmp_path / f"writes-{os.getpid()}.jsonl").is_file()
    asked["record"]["directory"] = str(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="there is no such folder"):
        Steered(asked, instance="writes")
