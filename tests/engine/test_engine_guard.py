"""What becomes of a step whose decision fails, by the operator's choice."""

from __future__ import annotations

import pytest

from value_steer.config import OnError
from value_steer.engine.guard import Guard
from value_steer.errors import SteeringError


def _fail(guard: Guard, error: BaseException) -> None:
    """A decision fails."""
    with guard:
        raise error


def test_a_failure_stops_the_step_and_says_what_to_do() -> None:
    """With its kind and its own words; the traceback of the failure is kept."""
    error = KeyError("no row")

    with pytest.raises(SteeringError) as caught:
        _fail(Guard(OnError.RAISE), error)

    assert str(caught.value) == (
        "a steering decision failed (KeyError: 'no row'); the step is not served. "
        'Set "on_error": "passthrough" to serve such steps unsteered'
    )
    assert caught.value.__cause__ is error


def test_what_is_passed_over_is_counted_and_each_cause_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With its traceback, since nothing else shows where it failed."""
    guard = Guard(OnError.PASSTHROUGH)
    errors = [KeyError("a"), ValueError("a"), KeyError("a"), KeyError("b")]

    for error in errors:
        _fail(guard, error)

    assert guard.failures == 4
    assert caplog.messages == [
        "served unsteered (on_error: passthrough): KeyError: 'a'",
        "served unsteered (on_error: passthrough): ValueError: a",
        "served unsteered (on_error: passthrough): KeyError: 'b'",
    ]
    said = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert said == [errors[0], errors[1], errors[3]]


@pytest.mark.parametrize("on_error", OnError)
def test_an_interrupt_is_no_failure_of_a_decision(on_error: OnError) -> None:
    """It ends the process, whatever the operator chose for failures."""
    guard = Guard(on_error)

    with pytest.raises(KeyboardInterrupt):
        _fail(guard, KeyboardInterrupt())

    assert guard.failures == 0
