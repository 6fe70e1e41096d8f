"""What became of each request, and how its caller finds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engine.scheduling.ledgers import STEERED, close, judged_at, row_values
from value_steer.config import AbstainAction
from value_steer.engine.delivery.report import Admitted, Ending, StepReport
from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scheduling.outcomes import callers_id


def test_an_outcome_says_when_and_how() -> None:
    """As a client and a caller of the engine read it."""
    ledger = Ledger()
    says = replace(STEERED, action=AbstainAction.MESSAGE)
    thinks = replace(STEERED, action=AbstainAction.END_THINKING)
    ledger.take(StepReport({"a": STEERED, "b": says, "c": thinks, "d": STEERED}), list("abcd"))
    ledger.take(StepReport(begins={"b": 1, "c": 2, "gone": 1}), list("abcd"))

    found = [
        close(ledger, "a", Ending.ABSTAINED),
        close(ledger, "b", Ending.ABSTAINED),
        close(ledger, "c"),
        close(ledger, "d"),
    ]

    assert {one.arrived for one in found} == {7.5}
    assert [(one.abstained, one.ending, one.action, one.response_tokens) for one in found] == [
        (True, "value_steer:abstained", "end", 2),
        (True, "value_steer:abstained", "message", 1),
        (False, None, "end_thinking", 2),
        (False, None, None, None),
    ]
    assert [(one.value, one.lowest, one.p_undesirable) for one in found] == [(None,) * 3] * 4


@pytest.mark.parametrize(
    ("kept", "ending", "action", "tokens"),
    [
        (2, None, "message", 2),
        (3, None, None, None),
        (2, Ending.NO_ACCEPTABLE, "end", 2),
    ],
    ids=["begun", "begun where there was no room", "ended by the other mode"],
)
def test_what_has_begun_counts_if_something_of_it_was_said(
    kept: int, ending: Ending | None, action: str | None, tokens: int | None
) -> None:
    """And if it was not the other mode that ended the request."""
    ledger = Ledger()
    ledger.take(StepReport({"a": replace(STEERED, action=AbstainAction.MESSAGE)}), ["a"])
    ledger.take(StepReport(begins={"a": kept}), ["a"])

    outcome = close(ledger, "a", ending, tokens=3)

    assert (outcome.action, outcome.response_tokens) == (action, tokens)


@pytest.mark.parametrize(
    ("refusal", "ending", "abstained", "kept"),
    [
        (None, Ending.ABSTAINED, True, 2),
        (None, Ending.NO_ACCEPTABLE, True, 2),
        (None, None, False, None),
        ("vfd_alpha: bad", Ending.REFUSED, False, 2),
    ],
    ids=["abstained", "no acceptable token", "by itself", "refused"],
)
def test_endings_are_told_apart(
    refusal: str | None, ending: Ending | None, abstained: object, kept: int | None
) -> None:
    """The stop token is not one of the tokens kept."""
    ledger = Ledger()
    ledger.take(StepReport({"a": Admitted(refusal=refusal)}), ["a"])

    outcome = close(ledger, "a", ending)

    assert (outcome.abstained, outcome.refused, outcome.response_tokens) == (
        abstained,
        refusal,
        kept,
    )
    counters = ledger.counters
    assert (counters.abstained, counters.refused) == (int(abstained is True), int(bool(refusal)))


def test_every_value_is_kept_for_who_asks_for_that() -> None:
    """In order, and none for the others."""
    ledger = Ledger()
    admitted = {"a": Admitted(keeps_values=True), "b": Admitted()}
    for p_good, p_undesirable in ((0.5, None), (None, 0.25), (0.75, 0.125)):
        report = StepReport(
            admitted,
            p_undesirable=row_values(p_undesirable, 1.0),
            **judged_at(1 + ledger.counters.steps, p_good, 1.0),
        )
        ledger.take(report, ["a", "b"])
        admitted = {}

    a, b = close(ledger, "a"), close(ledger, "b")

    assert (a.values, a.undesirable) == ((0.5, 0.75), (0.25, 0.125))
    assert (b.values, b.undesirable) == (None, None)


@pytest.mark.parametrize(
    ("request_id", "name", "answer"),
    [
        ("cmpl-abc-1f2e3d4c", "cmpl-abc", 0),
        ("3_cmpl-abc-1f2e3d4c", "cmpl-abc", 3),
        ("0_cmpl-abc-1f2e3d4c", "cmpl-abc", 0),
        ("12_mine", "mine", 12),
        ("mine", "mine", 0),
        ("of two\nlines", "of two\nlines", 0),
        ("", "", 0),
    ],
)
def test_a_caller_knows_its_request_by_its_own_id(request_id: str, name: str, answer: int) -> None:
    """The engine adds which answer it is, and what tells it from others of the same id."""
    assert callers_id(request_id) == (name, answer)


def test_the_answers_to_a_request_are_found_by_its_callers_id() -> None:
    """As long as they are kept; an id that comes again has the newest of each."""
    ledger = Ledger(capacity=3)
    for name in ("x-00000000", "1_x-00000000", "1_x-11111111", "y-00000000"):
        ledger.take(StepReport({name: STEERED}), [name])
        close(ledger, name)

    def found(name: str) -> dict[int, str]:
        return {answer: one.request_id for answer, one in ledger.answers(name).items()}

    assert found("x") == {1: "1_x-11111111"}, "the oldest is not kept any more"
    assert found("y") == {0: "y-00000000"}
    assert found("z") == {}
    for name in ("z-00000000", "z-11111111"):
        ledger.take(StepReport({name: STEERED}), [name])
        close(ledger, name)
    assert (found("x"), found("z")) == ({}, {0: "z-11111111"})
    assert set(ledger._of_caller) == {"y", "z"}, "nothing is kept of who is gone"


def test_the_oldest_outcomes_go_first() -> None:
    """A request whose id comes again is the newest."""
    ledger = Ledger(capacity=2)
    for name in ("a", "b", "a", "c"):
        ledger.take(StepReport({name: STEERED}), [name])
        close(ledger, name)

    assert [o.request_id for o in ledger.outcomes()] == ["a", "c"]
    assert [o.request_id for o in ledger.outcomes(["c", "b"])] == ["c"]
