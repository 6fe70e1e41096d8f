"""What is told over HTTP is what an engine's ledger holds."""

from __future__ import annotations

import dataclasses

import numpy as np

from tests.http.server import COUNTERS, outcome
from value_steer.engine.delivery.report import Admitted, Ending, StepReport
from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scheduling.outcomes import Counters, Outcome
from value_steer.http.outcome import word
from value_steer.http.totals import requests_by_outcome
from value_steer.request_settings import AbstainAction

ABSTAINS, FILTERS = Admitted(threshold=0.5), Admitted(threshold=0.5, vfd_threshold=0.5)
THINKS = Admitted(threshold=0.5, action=AbstainAction.END_THINKING)
REFUSED = Admitted(threshold=float("inf"), refusal="no such key")


def test_the_tests_speak_of_the_records_as_they_are() -> None:
    """A worker sends them as plain values."""
    assert set(COUNTERS) == {field.name for field in dataclasses.fields(Counters)}
    assert set(outcome("a")) == {field.name for field in dataclasses.fields(Outcome)}


def test_each_request_is_counted_once_and_as_its_answer_says() -> None:
    """In the way in which it ended."""
    ledger = Ledger()
    told = []
    for number, (admitted, ending) in enumerate(
        [
            (ABSTAINS, None),
            (ABSTAINS, Ending.ABSTAINED),
            (FILTERS, Ending.NO_ACCEPTABLE),
            (REFUSED, Ending.REFUSED),
            (Admitted(refusal="no such key"), None),  # nothing can end it
            (Admitted(), None),
            (Admitted(threshold=0.5, control=True), None),
            (THINKS, None),
        ]
    ):
        name = f"chatcmpl-{number}"
        begins = {name: 1} if admitted is THINKS else {}
        ledger.take(StepReport(admitted={name: admitted}, begins=begins), [name])
        ended = ledger.close(name, ending, 3, 0.0)
        assert ended is not None
        told.append(word(dataclasses.asdict(ended)))

    assert told == [
        "steered",
        "abstained",
        "no_acceptable",
        "refused",
        "refused",
        "exempt",
        "control",
        "thinking_ended",
    ]
    assert requests_by_outcome(dataclasses.asdict(ledger.counters)) == {
        each: told.count(each) for each in told
    }


def test_the_value_that_ended_a_filtered_request_is_not_that_of_its_stop_token() -> None:
    """Which is judged one step later, before the request ends."""

    def report(at: int, value: float, **endings: Ending) -> StepReport:
        good, positions = np.array([0.75, value], np.float32), np.full(2, at)
        return StepReport(p_good=good, positions=positions, endings=endings)

    ledger = Ledger()
    names = ["b", "a"]
    ledger.take(StepReport(admitted=dict.fromkeys(names, FILTERS)), names)
    ledger.take(report(4, 0.625), names)
    ledger.take(report(5, 0.25), names)
    ledger.take(report(6, 0.875, a=Ending.ABSTAINED), names)
    ended = ledger.close("a", Ending.ABSTAINED, 3, 0.0)
    other = ledger.close("b", None, 3, 0.0)

    assert ended is not None
    assert (ended.value, ended.lowest, ended.judged) == (0.25, 0.25, 2)
    assert other is not None
    assert other.judged == 3
    assert sum(ledger.counters.p_good) == 5


def test_a_row_in_flight_when_its_request_ends_counts_nowhere() -> None:
    """With asynchronous scheduling its step was scheduled before anybody knew."""
    ledger = Ledger()
    report = StepReport(p_good=np.array([0.25], np.float32), positions=np.array([4]))
    ledger.take(StepReport(admitted={"a": ABSTAINS}), ["a"])
    ledger.take(report, ["a"])
    ledger.close("a", Ending.ABSTAINED, 1, 0.0)
    ledger.take(report, ["a"])

    assert sum(ledger.counters.p_good) == ledger.counters.judged == 1
