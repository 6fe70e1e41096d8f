"""Outcomes and counters, from what a worker says of each step."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from value_steer.config import AbstainAction
from value_steer.engine.delivery.report import Admitted, Ending, Span, StepReport
from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scheduling.mirror import Mirror, News, open_ledger, tell
from value_steer.engine.scheduling.outcomes import Counters, Outcome, callers_id
from value_steer.engine.scheduling.recording import Recording
from value_steer.engine.scheduling.sums import histogram

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
    outcome = ledger.close(request_id, ending, tokens, arrived=7.5)
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
            _close(ledger, f"{kind}{i}", ending)
    ledger.take(StepReport({"one more": STEERED}), ["one more"])
    _close(ledger, "one more", Ending.ABSTAINED)
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


def test_an_outcome_says_when_and_how() -> None:
    """As a client and a caller of the engine read it."""
    ledger = Ledger()
    says = replace(STEERED, action=AbstainAction.MESSAGE)
    thinks = replace(STEERED, action=AbstainAction.END_THINKING)
    ledger.take(StepReport({"a": STEERED, "b": says, "c": thinks, "d": STEERED}), list("abcd"))
    ledger.take(StepReport(begins={"b": 1, "c": 2, "gone": 1}), list("abcd"))

    found = [
        _close(ledger, "a", Ending.ABSTAINED),
        _close(ledger, "b", Ending.ABSTAINED),
        _close(ledger, "c"),
        _close(ledger, "d"),
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

    outcome = _close(ledger, "a", ending, tokens=3)

    assert (outcome.action, outcome.response_tokens) == (action, tokens)


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
    ledger.take(StepReport(**_judged(4, 0.75, 0.25)), ["other", "a"])
    last = StepReport(endings={"other": Ending.NO_ACCEPTABLE, "a": ending, "gone": ending})
    last.p_good, last.positions = _values(0.75, 0.125), np.full(2, 5)
    ledger.take(last, ["other", "a"])

    assert _close(ledger, "a", ending).judged == judged
    assert _close(ledger, "other", Ending.NO_ACCEPTABLE).judged == 2


def test_steps_that_go_on_are_summed_up_now_and_then() -> None:
    """So that they take no more memory the longer the batch stays the same."""
    ledger = Ledger()
    ledger.take(StepReport({"a": Admitted(0.5, 0.5, keeps_values=True)}), ["a"])
    kept = set()
    for position in range(1, 201):
        report = StepReport(**_judged(position, 0.75))
        if position <= 100:
            report.p_undesirable = _values(0.25)
        ledger.take(report, ["a"])
        kept.add(len(ledger._batch._judged) + len(ledger._batch._filtered))

    assert max(kept) < 128
    a = _close(ledger, "a")
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
        ledger.take_span("a", Span(position, _values(*values), None), taken)
        ledger.take_span("gone", Span(position, _values(*values), None), taken)

    a = _close(ledger, "a")

    assert a.values == pytest.approx((0.9, 0.8, 0.7, 0.6))
    assert a.judged == 4
    assert (a.value, a.lowest) == pytest.approx((0.6, 0.6))
    assert ledger.counters.judged == sum(ledger.counters.p_good) == 4


def test_who_comes_back_keeps_what_is_known() -> None:
    """Whoever comes with it for the first time is new all the same."""
    ledger = Ledger()
    ledger.take(StepReport({"a": STEERED, "b": STEERED}, **_judged(4, 0.25, 0.5)), ["a", "b"])
    back = {"a": Admitted(0.75), "c": Admitted(0.75, unendable=True)}
    ledger.take(StepReport(back, **_judged(5, 0.75, 0.5)), ["a", "c"])

    a, c = _close(ledger, "a"), _close(ledger, "c")

    assert (a.threshold, a.judged, a.lowest) == (0.5, 2, 0.25)
    assert (c.threshold, c.judged) == (0.75, 1)
    assert ledger.counters.unendable == 1


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
        _close(ledger, name)

    def found(name: str) -> dict[int, str]:
        return {answer: one.request_id for answer, one in ledger.answers(name).items()}

    assert found("x") == {1: "1_x-11111111"}, "the oldest is not kept any more"
    assert found("y") == {0: "y-00000000"}
    assert found("z") == {}
    for name in ("z-00000000", "z-11111111"):
        ledger.take(StepReport({name: STEERED}), [name])
        _close(ledger, name)
    assert (found("x"), found("z")) == ({}, {0: "z-11111111"})
    assert set(ledger._of_caller) == {"y", "z"}, "nothing is kept of who is gone"


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


@pytest.mark.parametrize("after", [["a"], ["b", "a"]], ids=["another batch", "the same batch"])
def test_a_position_that_is_judged_again_counts_once(after: list[str]) -> None:
    """As after a preemption, whatever batch the request is in then."""
    ledger = Ledger()
    ledger.take(StepReport({"a": Admitted(0.5, keeps_values=True), "b": Admitted()}), ["a", "b"])
    for position, ids in ((4, ["b", "a"]), (5, ["b", "a"]), (5, after), (6, after)):
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
            p_undesirable=_values(0.5, 0.125),
            repeated=["a", "b"],
            interventions=["a", "b"],
            no_acceptable=["a", "b"],
            unscored=["a", "b"],
            **_judged(5 - len(lost), 0.25, 0.75),
        )
        ledger.take(report, ["a", "b"], lost)

    a, b, counters = _close(ledger, "a"), _close(ledger, "b"), ledger.counters

    assert (a.judged, a.interventions, a.no_acceptable, a.unscored) == (1, 1, 1, 1)
    assert (b.judged, b.interventions, b.no_acceptable, b.unscored) == (2, 2, 2, 2)
    assert (b.value, b.p_undesirable) == (0.75, 0.125)
    assert (counters.judged, counters.filtered, counters.repeated) == (3, 3, 3)


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
    assert (near.counters, near.outcomes(), far.answers(["a"])) == (Counters(), [], {})
    ledger = open_ledger("near")
    ledger.take(StepReport({"a": STEERED}), ["a"])
    outcome = _close(ledger, "a", Ending.ABSTAINED)
    step = SimpleNamespace()
    tell(step, News([outcome], ledger.counters))

    far.take(SimpleNamespace())
    assert far.outcomes() == []
    far.take(step)
    for mirror in (near, far):
        assert mirror.outcomes() == [outcome]
        assert mirror.outcomes(["b"]) == []
        assert mirror.counters.abstained == 1
        assert mirror.answers(["a", "b"]) == {"a": {0: outcome}}

    near.take(SimpleNamespace(value_steer_news=News([], Counters())))
    assert near.counters.abstained == 1, "it does not believe what it can see itself"
