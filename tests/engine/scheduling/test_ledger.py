"""Outcomes and counters, from what a worker says of each step."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from value_steer.engine.delivery.report import Admitted, Ending, StepReport
from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scheduling.mirror import Mirror, News, open_ledger, tell
from value_steer.engine.scheduling.outcomes import Counters, Outcome

STEERED = Admitted(threshold=0.5, vfd_threshold=0.25)


def _values(*values: float | None) -> np.ndarray:
    """One value per row; ``None`` where there is none."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float32)


def _judged(position: int, *values: float | None) -> dict[str, Any]:
    """What abstention says of rows whose sequences are of one length."""
    return {"p_good": _values(*values), "positions": np.full(len(values), position)}


def _close(
    ledger: Ledger, request_id: str, ending: Ending | None = None, tokens: int = 3
) -> Outcome:
    outcome = ledger.close(request_id, ending, tokens, 0.0)
    assert outcome is not None
    return outcome


def test_what_was_seen_and_done_is_told_per_request() -> None:
    """Rows may change places between steps; a row without a value keeps what it had."""
    ledger = Ledger()
    admitted = dict.fromkeys("ab", STEERED)
    first = StepReport(admitted, p_undesirable=_values(None, 0.125), **_judged(4, 0.5, None))
    ledger.take(first, ["a", "b"])
    for judged in (_judged(5, 0.25, None), _judged(6, 0.75, 0.875)):
        ledger.take(StepReport(interventions=["a"], **judged), ["a", "b"])
    last = StepReport(p_undesirable=_values(0.5, 0.75), no_acceptable=["a"], unscored=["b"])
    ledger.take(last, ["b", "a"])

    a, b = _close(ledger, "a"), _close(ledger, "b")

    assert (a.value, a.lowest, a.judged) == (0.75, 0.25, 3)
    assert (b.value, b.lowest, b.judged) == (0.875, 0.875, 1)
    assert (a.p_undesirable, b.p_undesirable) == (0.75, 0.5)
    assert (a.interventions, a.no_acceptable, a.unscored) == (2, 1, 0)
    assert (b.interventions, b.no_acceptable, b.unscored) == (0, 0, 1)
    assert (a.threshold, a.vfd_threshold) == (0.5, 0.25)
    counters = replace(ledger.counters, p_good=[], p_undesirable=[])
    assert counters == Counters(
        judged=4,
        filtered=3,
        interventions=2,
        no_acceptable=1,
        unscored=1,
        finished=2,
        steps=4,
        p_good=[],
        p_undesirable=[],
    )
    assert [i for i, count in enumerate(ledger.counters.p_good) if count] == [5, 10, 15, 17]
    assert len(ledger) == 0


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

    outcome = _close(ledger, "a", ending)

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
            p_undesirable=_values(p_undesirable, 1.0),
            **_judged(1 + ledger.counters.steps, p_good, 1.0),
        )
        ledger.take(report, ["a", "b"])
        admitted = {}

    a, b = _close(ledger, "a"), _close(ledger, "b")

    assert (a.values, a.undesirable) == ((0.5, 0.75), (0.25, 0.125))
    assert (b.values, b.undesirable) == (None, None)


def test_rows_in_flight_of_requests_that_are_over_count_for_nobody() -> None:
    """A step was on its way when its request ended."""
    ledger = Ledger()
    ledger.take(StepReport({"a": STEERED, "b": STEERED}), ["a", "b"])
    _close(ledger, "a")
    late = StepReport(interventions=["a"], no_acceptable=["a"], **_judged(4, 0.5, 0.75))
    ledger.take(late, ["a", "b"])

    assert _close(ledger, "b").value == 0.75
    counters = ledger.counters
    assert (counters.judged, counters.interventions, counters.no_acceptable) == (1, 0, 0)
    assert ledger.close("a", None, 1, 0.0) is None
    assert ledger.close("never seen", None, 1, 0.0) is None


def test_a_position_that_is_judged_again_counts_once() -> None:
    """As after a preemption, whatever batch the request is in then."""
    ledger = Ledger()
    ledger.take(StepReport({"a": Admitted(0.5, keeps_values=True), "b": Admitted()}), ["a", "b"])
    for position, ids in ((4, ["b", "a"]), (5, ["b", "a"]), (5, ["a"]), (6, ["a"])):
        values = [None, 1 / position] if len(ids) > 1 else [1 / position]
        ledger.take(StepReport(**_judged(position, *values)), ids)

    a = _close(ledger, "a")

    assert a.judged == sum(ledger.counters.p_good) == 3
    assert a.values == pytest.approx((1 / 4, 1 / 5, 1 / 6))


def test_what_the_scheduler_drops_counts_nowhere() -> None:
    """Its request runs the step again, and all is said once more."""
    ledger = Ledger()
    ledger.take(StepReport({"a": STEERED, "b": STEERED}), ["a", "b"])
    for lost in (["a"], []):
        report = StepReport(
            p_undesirable=_values(0.5, None),
            repeated=["a"],
            interventions=["a"],
            no_acceptable=["a"],
            unscored=["a"],
            **_judged(4, 0.25, None),
        )
        ledger.take(report, ["a", "b"], lost)

    a, counters = _close(ledger, "a"), ledger.counters

    assert (a.judged, a.interventions, a.no_acceptable, a.unscored) == (1, 1, 1, 1)
    assert (counters.judged, counters.filtered, counters.repeated) == (1, 1, 1)


def test_the_oldest_outcomes_go_first() -> None:
    """A request whose id comes again is the newest."""
    ledger = Ledger(capacity=2)
    for name in ("a", "b", "a", "c"):
        ledger.take(StepReport({name: STEERED}), [name])
        _close(ledger, name)

    assert [o.request_id for o in ledger.outcomes()] == ["a", "c"]
    assert [o.request_id for o in ledger.outcomes(["c", "b"])] == ["c"]


def test_a_worker_in_the_same_process_reads_the_ledger_itself() -> None:
    """One elsewhere believes what the messages say."""
    near, far = Mirror("near"), Mirror("far")
    ledger = open_ledger("near")
    ledger.take(StepReport({"a": STEERED}), ["a"])
    outcome = _close(ledger, "a", Ending.ABSTAINED)
    step = SimpleNamespace()
    tell(step, News([outcome], ledger.counters))

    for mirror in (near, far):
        mirror.take(SimpleNamespace())
        mirror.take(step)
        assert mirror.outcomes() == [outcome]
        assert mirror.outcomes(["b"]) == []
        assert mirror.counters.abstained == 1
