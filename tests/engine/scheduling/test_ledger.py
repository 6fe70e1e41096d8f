"""Counters and values, from what a worker says of each step: each once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.scheduling.ledgers import STEERED, close, judged_at, row_values
from value_steer.config import AbstainAction
from value_steer.engine.delivery.report import Admitted, Ending, Span, StepReport
from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scheduling.outcomes import Counters
from value_steer.engine.scheduling.recording import Recording
from value_steer.engine.scheduling.sums import histogram


def test_what_was_seen_and_done_is_told_per_request() -> None:
    """Rows may change places between steps; a row without a value keeps what it had."""
    ledger = Ledger()
    admitted = dict.fromkeys("ab", STEERED)
    first = StepReport(admitted, p_undesirable=row_values(None, 0.125), **judged_at(4, 0.5, None))
    ledger.take(first, ["a", "b"])
    for judged in (judged_at(5, 0.25, None), judged_at(6, 0.75, 0.875)):
        ledger.take(StepReport(interventions=["a"], **judged), ["a", "b"])
    last = StepReport(p_undesirable=row_values(0.5, 0.75), no_acceptable=["a"], unscored=["b"])
    ledger.take(last, ["b", "a"])

    a, b = close(ledger, "a"), close(ledger, "b")

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


def test_counters_are_sums_over_steps_and_requests() -> None:
    """Each of everything that happened, and nothing twice."""
    ledger = Ledger()
    kinds: dict[str, tuple[Admitted, Ending | None]] = {
        "ended": (STEERED, Ending.ABSTAINED),
        "exhausted": (STEERED, Ending.NO_ACCEPTABLE),
        "closed": (replace(STEERED, action=AbstainAction.END_THINKING), None),
        "refused": (Admitted(refusal="bad"), Ending.REFUSED),
        "exempt": (Admitted(unendable=True), None),
        "control": (replace(STEERED, control=True), None),
    }
    ids = [f"{kind}{i}" for kind in kinds for i in range(2)]
    for i in range(2):
        ledger.take(
            StepReport(
                {f"{kind}{i}": admitted for kind, (admitted, _) in kinds.items()},
                repeated=ids[:3],
                interventions=ids[: i + 1],
                no_acceptable=ids[: i + 1],
                unscored=ids[: i + 1],
                begins={f"closed{i}": 1},
                errors=3,
                seconds=0.25,
            ),
            ids,
        )
    for kind, (_, ending) in kinds.items():
        for i in range(2):
            close(ledger, f"{kind}{i}", ending)
    ledger.take(StepReport({"one more": STEERED}), ["one more"])
    close(ledger, "one more", Ending.ABSTAINED)
    for _ in range(2):
        ledger.count_recording(Recording(answers=1, errors=2))

    counters = replace(ledger.counters, p_good=[], p_undesirable=[])
    assert counters == Counters(
        abstained=5,
        thinking_ended=2,
        exhausted=2,
        refused=2,
        unendable=2,
        repeated=6,
        interventions=3,
        no_acceptable=3,
        unscored=3,
        swallowed_errors=10,
        finished=13,
        exempt=2,
        controls=2,
        recorded=2,
        steps=3,
        step_seconds=0.5,
        p_good=[],
        p_undesirable=[],
    )


@pytest.mark.parametrize(
    ("admitted", "ending", "judged"),
    [
        (STEERED, Ending.ABSTAINED, 1),
        (STEERED, Ending.NO_ACCEPTABLE, 2),
        (Admitted(threshold=0.5), Ending.ABSTAINED, 2),
    ],
    ids=["filtered", "no acceptable token", "not filtered"],
)
def test_the_stop_token_of_a_filtered_request_is_not_judged(
    admitted: Admitted, ending: Ending, judged: int
) -> None:
    """It goes out a step late, and that step has a value of it."""
    ledger = Ledger()
    ledger.take(StepReport({"other": STEERED, "a": admitted}), ["other", "a"])
    ledger.take(StepReport(**judged_at(4, 0.75, 0.25)), ["other", "a"])
    last = StepReport(endings={"other": Ending.NO_ACCEPTABLE, "a": ending, "gone": ending})
    last.p_good, last.positions = row_values(0.75, 0.125), np.full(2, 5)
    ledger.take(last, ["other", "a"])

    assert close(ledger, "a", ending).judged == judged
    assert close(ledger, "other", Ending.NO_ACCEPTABLE).judged == 2


def test_steps_that_go_on_are_summed_up_now_and_then() -> None:
    """So that they take no more memory the longer the batch stays the same."""
    ledger = Ledger()
    ledger.take(StepReport({"a": Admitted(0.5, 0.5, keeps_values=True)}), ["a"])
    kept = set()
    for position in range(1, 201):
        report = StepReport(**judged_at(position, 0.75))
        if position <= 100:
            report.p_undesirable = row_values(0.25)
        ledger.take(report, ["a"])
        kept.add(len(ledger._batch._judged) + len(ledger._batch._filtered))

    assert max(kept) < 128
    a = close(ledger, "a")
    assert (a.judged, len(a.values or ()), len(a.undesirable or ())) == (200, 200, 100)
    assert (ledger.counters.judged, ledger.counters.filtered) == (200, 100)
    assert (ledger.counters.p_good[15], ledger.counters.p_undesirable[5]) == (200, 100)


def test_a_value_is_counted_in_its_twentieth() -> None:
    """The last one has its upper end as well."""
    counted = histogram(np.array([0.0, 0.049, 0.05, 0.5, 0.949, 0.951, 1.0]))

    assert {i: count for i, count in enumerate(counted.tolist()) if count} == {
        0: 2,
        1: 1,
        10: 1,
        18: 1,
        19: 2,
    }


def test_several_tokens_of_a_step_are_told_one_by_one() -> None:
    """What was judged before, and what the scheduler did not take, counts once and not at all."""
    ledger = Ledger()
    ledger.take(StepReport({"a": Admitted(0.5, keeps_values=True)}), ["a"])
    for position, values, taken in (
        (4, (0.9, 0.8), 2),
        (5, (0.8, None, 0.7), 3),
        (8, (None, None), 2),
        (8, (0.6, 0.1), 1),
    ):
        ledger.take_span("a", Span(position, row_values(*values), None), taken)
        ledger.take_span("gone", Span(position, row_values(*values), None), taken)

    a = close(ledger, "a")

    assert a.values == pytest.approx((0.9, 0.8, 0.7, 0.6))
    assert a.judged == 4
    assert (a.value, a.lowest) == pytest.approx((0.6, 0.6))
    assert ledger.counters.judged == sum(ledger.counters.p_good) == 4


def test_who_comes_back_keeps_what_is_known() -> None:
    """Whoever comes with it for the first time is new all the same."""
    ledger = Ledger()
    ledger.take(StepReport({"a": STEERED, "b": STEERED}, **judged_at(4, 0.25, 0.5)), ["a", "b"])
    back = {"a": Admitted(0.75), "c": Admitted(0.75, unendable=True)}
    ledger.take(StepReport(back, **judged_at(5, 0.75, 0.5)), ["a", "c"])

    a, c = close(ledger, "a"), close(ledger, "c")

    assert (a.threshold, a.judged, a.lowest) == (0.5, 2, 0.25)
    assert (c.threshold, c.judged) == (0.75, 1)
    assert ledger.counters.unendable == 1


def test_rows_in_flight_of_requests_that_are_over_count_for_nobody() -> None:
    """A step was on its way when its request ended."""
    ledger = Ledger()
    ledger.take(StepReport({"a": STEERED, "b": STEERED}), ["a", "b"])
    close(ledger, "a")
    late = StepReport(interventions=["a"], no_acceptable=["a"], **judged_at(4, 0.5, 0.75))
    ledger.take(late, ["a", "b"])

    assert close(ledger, "b").value == 0.75
    counters = ledger.counters
    assert (counters.judged, counters.interventions, counters.no_acceptable) == (1, 0, 0)
    assert ledger.close("a", None, 1, 0.0) is None
    assert ledger.close("never seen", None, 1, 0.0) is None


@pytest.mark.parametrize("after", [["a"], ["b", "a"]], ids=["another batch", "the same batch"])
def test_a_position_that_is_judged_again_counts_once(after: list[str]) -> None:
    """As after a preemption, whatever batch the request is in then."""
    ledger = Ledger()
    ledger.take(StepReport({"a": Admitted(0.5, keeps_values=True), "b": Admitted()}), ["a", "b"])
    for position, ids in ((4, ["b", "a"]), (5, ["b", "a"]), (5, after), (6, after)):
        values = [None, 1 / position] if len(ids) > 1 else [1 / position]
        ledger.take(StepReport(**judged_at(position, *values)), ids)

    a = close(ledger, "a")

    assert a.judged == sum(ledger.counters.p_good) == 3
    assert a.values == pytest.approx((1 / 4, 1 / 5, 1 / 6))


def test_what_the_scheduler_drops_counts_nowhere() -> None:
    """Its request runs the step again, and all is said once more."""
    ledger = Ledger()
    ledger.take(StepReport({"a": STEERED, "b": STEERED}), ["a", "b"])
    for lost in (["a"], []):
        report = StepReport(
            p_undesirable=row_values(0.5, 0.125),
            repeated=["a", "b"],
            interventions=["a", "b"],
            no_acceptable=["a", "b"],
            unscored=["a", "b"],
            **judged_at(5 - len(lost), 0.25, 0.75),
        )
        ledger.take(report, ["a", "b"], lost)

    a, b, counters = close(ledger, "a"), close(ledger, "b"), ledger.counters

    assert (a.judged, a.interventions, a.no_acceptable, a.unscored) == (1, 1, 1, 1)
    assert (b.judged, b.interventions, b.no_acceptable, b.unscored) == (2, 2, 2, 2)
    assert (b.value, b.p_undesirable) == (0.75, 0.125)
    assert (counters.judged, counters.filtered, counters.repeated) == (3, 3, 3)
