"""The scheduler's message is corrected on a copy, where it runs ahead and nowhere else."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from value_steer.engine.delivery.lag import Lag
from value_steer.errors import SteeringError


def _step(*rows: tuple[str, int, int], **changes: Any) -> Any:
    """A message: id, position and output tokens of each request."""
    cached: dict[str, Any] = {
        "req_ids": [name for name, _, _ in rows],
        "num_computed_tokens": [computed for _, computed, _ in rows],
        "num_output_tokens": [outputs for _, _, outputs in rows],
        "resumed_req_ids": set(),
        "all_token_ids": {},
    }
    new = changes.pop("new", [])
    return SimpleNamespace(
        scheduled_new_reqs=[SimpleNamespace(req_id=name) for name in new],
        scheduled_cached_reqs=SimpleNamespace(**{**cached, **changes}),
    )


def _lag(**held: int) -> Lag:
    return Lag(held.get)


def test_a_message_that_agrees_is_passed_on_as_it_is() -> None:
    """Nothing is copied for it."""
    lag, step = _lag(), _step(("a", 5, 2))
    lag.run_again("b", 3)

    assert lag.correct(step) is step


def test_a_request_that_is_scheduled_too_far_is_run_where_it_stands() -> None:
    """Once; the scheduler keeps its own message."""
    lag, step = _lag(), _step(("a", 5, 2), ("b", 7, 4))
    lag.run_again("b", 6)
    before = copy.deepcopy(step)

    cached = lag.correct(step).scheduled_cached_reqs

    assert (cached.num_computed_tokens, cached.num_output_tokens) == ([5, 6], [2, 3])
    assert step == before
    assert lag.correct(step) is step


def test_a_scheduler_that_has_heard_of_it_is_believed() -> None:
    """Without a second step in flight, or after one that was skipped."""
    lag, step = _lag(), _step(("b", 6, 3))
    lag.run_again("b", 6)

    assert lag.correct(step) is step


def test_it_waits_for_a_request_that_is_not_scheduled() -> None:
    """A step without it says nothing of it."""
    lag = _lag()
    lag.run_again("b", 6)
    lag.correct(_step(("a", 5, 2)))

    assert lag.correct(_step(("b", 7, 4))).scheduled_cached_reqs.num_computed_tokens == [6]


@pytest.mark.parametrize("changes", [{"new": ["b"]}, {"resumed_req_ids": {"b"}}])
def test_what_begins_anew_is_where_the_scheduler_says(changes: dict[str, Any]) -> None:
    """As a new request, or as one that is resumed."""
    lag, step = _lag(), _step(("b", 7, 4), **changes)
    lag.run_again("b", 6)

    assert lag.correct(step) is step


def test_more_than_one_position_is_an_error() -> None:
    """Nothing is guessed."""
    lag = _lag()
    lag.run_again("b", 5)

    with pytest.raises(SteeringError, match="b stands at position 5 and is scheduled at 7"):
        lag.correct(_step(("b", 7, 4)))


def test_a_request_that_comes_back_ends_in_the_token_that_is_held() -> None:
    """The scheduler's list lacks it; one that is resumed has lost it."""
    lag = _lag(a=9, c=8)
    known: dict[str, Any] = {"a": [1, 2], "b": [3], "c": [4]}
    step = _step(("a", 2, 1), ("b", 1, 0), ("c", 0, 0), all_token_ids=known, resumed_req_ids={"c"})

    cached = lag.correct(step).scheduled_cached_reqs

    assert cached.all_token_ids == {"a": [1, 2, 9], "b": [3], "c": [4]}
    assert known["a"] == [1, 2]
