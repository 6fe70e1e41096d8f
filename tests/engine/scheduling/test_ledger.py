"""Outcomes and counters, from what a worker says of each step."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

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


def _close(
    ledger: Ledger, request_id: str, ending: Ending | None = None, tokens: int = 3
) -> Outcome:
    outcome = ledger.close(request_id, ending, tokens)
    assert outcome is not None
    return outcome


def test_what_was_seen_and_done_is_told_per_request() -> None:
    """Rows may change places between steps; a row without a value keeps what it had."""
    ledger = Ledger()
    admitted = dict.fromkeys("ab", STEERED)
    first = StepReport(admitted, p_good=_values(0.5, None), p_undesirable=_values(None, 0.125))
    ledger.take(first, ["a", "b"])
    for p_good in (_values(0.25, None), _values(0.75, 0.875)):
        ledger.take(StepReport(p_good=p_good, interventions=["a"]), ["a", "b"])
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
    for at, (p_good, p_undesirable) in enumerate(((0.5, None), (None, 0.25), (0.75, 0.125))):
        report = StepReport(
            admitted,
            p_good=_values(p_good, 1.0),
            positions=np.array([at, at]),
            p_undesirable=_values(p_undesirable, 1.0),
        )
        ledger.take(report, ["a", "b"])
        admitted = {}

    a, b = _close(ledger, "a"), _close(ledger, "b")

    assert (a.values, a.undesirable) == ((0.5, 0.75), (0.25, 0.125))
    assert (b.values, b.undesirable) == (None, None)


def test_a_token_that_is_judged_again_has_one_value() -> None:
    """As after a preemption; what was said of it last counts."""
    ledger = Ledger()
    admitted = {"a": Admitted(keeps_values=True)}
    for at, p_good in ((1, 0.5), (2, 0.25), (2, 0.125), (3, 0.75)):
        report = StepReport(admitted, p_good=_values(p_good), positions=np.array([at]))
        ledger.take(report, ["a"])
        admitted = {}

    outcome = _close(ledger, "a")

    assert (outcome.values, outcome.judged) == ((0.5, 0.125, 0.75), 4)


def test_rows_in_flight_of_requests_that_are_over_count_for_nobody() -> None:
    """A step was on its way when its request ended."""
    ledger = Ledger()
    ledger.take(StepReport({"a": STEERED, "b": STEERED}), ["a", "b"])
    _close(ledger, "a")
    late = StepReport(p_good=_values(0.5, 0.75), interventions=["a"], no_acceptable=["a"])
    ledger.take(late, ["a", "b"])

    assert _close(ledger, "b").value == 0.75
    counters = ledger.counters
    assert (counters.judged, counters.interventions, counters.no_acceptable) == (1, 0, 0)
    assert ledger.close("a", None, 1) is None
    assert ledger.close("never seen", None, 1) is None


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
