"""The scheduler's part, over a host that does as it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from value_steer.engine.delivery.report import Admitted, StepReport, attach
from value_steer.engine.scheduling.late import LateScheduling

PROMPT, LONGEST = 4, 10


class Host:
    """Notes what it sees while it schedules, and adds one placeholder per row and step."""

    def __init__(self, longest: int = LONGEST, *, name: str = "") -> None:
        self.requests: dict[str, Any] = {}
        self.running: list[Any] = []
        self.max_model_len = longest
        self.name = name
        self.fails = False
        self.seen: list[tuple[int, list[int]]] = []

    def add_request(self, request: Any) -> None:
        """Run it at once."""
        self.requests[request.request_id] = request
        self.running.append(request)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Every request, one token."""
        self.seen.append((self.max_model_len, [r.max_tokens for r in self.running]))
        if self.fails:
            raise RuntimeError
        for request in self.running:
            request.num_computed_tokens += 1
            request.num_output_placeholders += 1
        tokens = dict.fromkeys(self.requests, 1)
        return SimpleNamespace(num_scheduled_tokens=tokens, args=args, kwargs=kwargs)

    def update_from_output(self, step: Any, output: Any) -> str:
        """Book the tokens."""
        del step
        for name, row in output.req_id_to_index.items():
            if name in self.requests and output.sampled_token_ids:
                given = output.sampled_token_ids[row]
                self.requests[name].num_output_placeholders -= len(given)
        return "what goes out"

    def _preempt_request(self, request: Any, *args: Any, **kwargs: Any) -> None:
        self.preempted = request, args, kwargs
        request.num_computed_tokens = 0
        self.running.remove(request)

    def reset_prefix_cache(self, *args: Any, **kwargs: Any) -> Any:
        """Preempt all."""
        for request in list(self.running):
            self._preempt_request(request)
            if hasattr(request, "discard_latest_async_tokens"):
                request.discard_latest_async_tokens = True
        return args, kwargs

    def _free_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        del self.requests[request.request_id]
        return request, args, kwargs


class Late(LateScheduling, Host):
    """The part over it."""


def _request(name: str, most: int = 3, **changes: Any) -> Any:
    return SimpleNamespace(
        request_id=name,
        num_prompt_tokens=PROMPT,
        max_tokens=most,
        num_computed_tokens=PROMPT,
        num_output_placeholders=0,
        is_finished=lambda: False,
        **changes,
    )


def _output(tokens: dict[str, list[int]], **report: Any) -> Any:
    output = SimpleNamespace(
        req_id_to_index={name: row for row, name in enumerate(tokens)},
        sampled_token_ids=list(tokens.values()),
        prompt_logprobs_dict=dict.fromkeys(tokens),
    )
    attach(output, StepReport(**report))
    return output


def _known(**changes: Any) -> tuple[Late, Any]:
    """A scheduler that knows a request as a late one, with one token held."""
    scheduler, request = Late(), _request("a", **changes)
    scheduler.add_request(request)
    admitted = {"a": Admitted(vfd_threshold=0.5), "gone": Admitted(vfd_threshold=0.5)}
    scheduler.update_from_output(scheduler.schedule(), _output({"a": []}, admitted=admitted))
    return scheduler, request


def test_a_request_that_got_no_token_takes_its_position_again() -> None:
    """One that was preempted since does not, nor one that is gone."""
    scheduler, request = _known()
    step = scheduler.schedule()
    before = request.num_computed_tokens

    given = scheduler.update_from_output(step, _output({"a": []}, repeated=["a", "gone"]))

    assert given == "what goes out"
    assert (request.num_computed_tokens, request.num_output_placeholders) == (before - 1, 1)
    request.num_stale_output_tokens = 1
    scheduler.update_from_output(scheduler.schedule(), _output({"a": []}, repeated=["a"]))
    assert request.num_computed_tokens == before


@pytest.mark.parametrize(
    ("finished", "placeholders", "taken"),
    [(False, 3, 1), (False, 0, 0), (True, 3, 0)],
    ids=["runs", "was preempted meanwhile", "is over"],
)
def test_only_a_request_that_runs_on_takes_its_position_again(
    placeholders: int, taken: int, *, finished: bool
) -> None:
    """One of its tokens in flight is none then, whatever else is."""
    scheduler, request = _known()
    step = scheduler.schedule()
    before = request.num_computed_tokens
    request.num_output_placeholders = placeholders
    request.is_finished = lambda: finished

    scheduler.update_from_output(step, _output({"a": []}, repeated=["a"]))

    assert request.num_computed_tokens == before - taken
    assert request.num_output_placeholders == placeholders - taken


def test_the_host_is_called_as_it_is() -> None:
    """Releases differ in what they give these, and in what they want back."""
    scheduler = Late(7, name="of a release")
    request = _request("a", discard_latest_async_tokens=False)
    scheduler.add_request(request)

    step = scheduler.schedule(1, throttle=2)
    scheduler._preempt_request(request, 3.5, drop=True)

    assert (scheduler.max_model_len, scheduler.name) == (7, "of a release")
    assert (step.args, step.kwargs) == ((1,), {"throttle": 2})
    assert scheduler.preempted == (request, (3.5,), {"drop": True})
    reset: Any = scheduler.reset_prefix_cache(4, connector=5)
    assert reset == ((4,), {"connector": 5})
    assert scheduler._free_request(request, 6, delay=7) == (request, (6,), {"delay": 7})


def test_a_scheduler_that_fails_is_left_as_it_was() -> None:
    """Its limits are its own again."""
    scheduler, request = _known(most=1)
    scheduler.fails = True

    with pytest.raises(RuntimeError):
        scheduler.schedule()

    assert scheduler.seen[-1] == (LONGEST + 1, [2])
    assert (request.max_tokens, scheduler.max_model_len) == (1, LONGEST)


def test_only_a_late_request_that_is_at_its_last_token_gets_more_room() -> None:
    """Whoever is before it in the batch."""
    scheduler, late = _known(most=4)
    other = _request("b", 4)
    scheduler.add_request(other)
    scheduler.running.reverse()
    scheduler.seen.clear()
    for _ in range(2):
        scheduler.update_from_output(scheduler.schedule(), _output({"a": [7], "b": [7]}))

    assert [most for _, most in scheduler.seen] == [[4, 4], [4, 5]]
    assert (late.max_tokens, other.max_tokens) == (4, 4)


def test_a_host_that_counts_what_is_stale_is_left_to_it() -> None:
    """From vLLM 0.27; its placeholders are its own."""
    scheduler, request = _known(num_stale_output_tokens=0)
    scheduler.schedule()
    before = request.num_output_placeholders

    scheduler._preempt_request(request)

    assert request.num_output_placeholders == before == 2
    assert scheduler._stale._stale == {}


def test_a_reset_changes_nothing_of_a_request_that_its_host_knows_nothing_of() -> None:
    """The mark with which a host drops the next token came and went."""
    scheduler, request = _known()

    scheduler.reset_prefix_cache()

    assert not hasattr(request, "discard_latest_async_tokens")


def test_a_request_gets_the_step_that_judges_its_last_token() -> None:
    """It is let one position further when it is there, and the model's limit is as well."""
    scheduler, request = _known(most=2)
    scheduler.update_from_output(scheduler.schedule(), _output({"a": [7]}))
    scheduler.schedule()

    assert scheduler.seen == [(LONGEST + 1, [2]), (LONGEST + 1, [3]), (LONGEST + 1, [3])]
    assert (request.max_tokens, scheduler.max_model_len) == (2, LONGEST)


def test_nobody_may_ask_for_more_than_there_is_room_for() -> None:
    """One token at least is what the host gives every request."""
    scheduler = Late()
    for name, prompt, most in (("a", PROMPT, 99), ("b", LONGEST, 5)):
        request = _request(name, most)
        request.num_prompt_tokens = prompt
        scheduler.add_request(request)

    assert [r.max_tokens for r in scheduler.running] == [LONGEST - PROMPT, 1]


@pytest.mark.parametrize("reset", [False, True], ids=["preempted", "reset"])
def test_outputs_in_flight_of_a_preempted_request(reset: object) -> None:
    """They count after a preemption and are dropped after a reset, on a host that counts none."""
    scheduler, request = _known(discard_latest_async_tokens=False)
    step = scheduler.schedule()
    if reset:
        scheduler.reset_prefix_cache()
    else:
        scheduler._preempt_request(request)
    assert request.num_output_placeholders == 0
    output = _output({"a": [7]}, repeated=["a"])
    output.prompt_logprobs_dict["a"] = "of the prompt"

    scheduler.update_from_output(step, output)

    assert output.sampled_token_ids == ([[]] if reset else [[7]])
    assert ("a" in output.prompt_logprobs_dict) is not reset
    assert request.num_output_placeholders == 0
    assert request.num_computed_tokens == 0
    assert not request.discard_latest_async_tokens


def test_a_preemption_after_a_reset_is_one_like_any_other() -> None:
    """What was in flight counts."""
    scheduler, request = _known(discard_latest_async_tokens=False)
    scheduler.reset_prefix_cache()
    scheduler.update_from_output(None, _output({"a": [7]}))
    scheduler.running.append(request)
    step = scheduler.schedule()
    scheduler._preempt_request(request)
    output = _output({"a": [8]})

    scheduler.update_from_output(step, output)

    assert output.sampled_token_ids == [[8]]


def test_nothing_is_kept_of_who_is_gone() -> None:
    """Nor of who was gone before the worker spoke of it."""
    scheduler, request = _known()
    scheduler.schedule()
    scheduler._preempt_request(request)

    scheduler._free_request(request)

    assert not scheduler._late
    assert not scheduler._stale._stale
