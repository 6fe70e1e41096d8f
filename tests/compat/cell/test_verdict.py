"""The verdict: only a complete run is a pass, and only a failed test is a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.cell.junit import CaseOutcome, CaseResult, SuiteReport
from compat.cell.reports import CollectedTest
from compat.cell.verdict import LONGEST_REASON, Judgement, clean, early, judge
from compat.errors import ReportError, UsageError
from value_steer.registry.model import Cause, Control, Depth, Verdict

MODES = ("abstain",)
BOOT = CollectedTest("t.py::test_boots", MODES, Depth.BOOTS, "scheduling", detects_dead=False)
FIRES = CollectedTest("t.py::test_fires", MODES, Depth.FIRES, "eos_fires", detects_dead=True)
EQUAL = CollectedTest("t.py::test_equal", MODES, Depth.EQUAL, None, detects_dead=True)
REFUSES = CollectedTest("t.py::test_refuses", MODES, Depth.FIRES, None, detects_dead=False)
EXPECTED = (BOOT, FIRES, EQUAL, REFUSES)

PROPERTIES = {"value_steer.runner": "v1", "value_steer.swallowed_errors": "0"}
P, F, E, S = CaseOutcome.PASSED, CaseOutcome.FAILED, CaseOutcome.ERROR, CaseOutcome.SKIPPED


def report(ends: dict[CollectedTest, CaseOutcome], **properties: str) -> SuiteReport:
    """A report in which tests ended so; a property ``x`` stands for ``value_steer.x``."""
    stated = PROPERTIES | {f"value_steer.{name}": text for name, text in properties.items()}
    return SuiteReport({t.id: CaseResult(end, 0.1, "") for t, end in ends.items()}, stated)


ALL_PASSED = dict.fromkeys(EXPECTED, P)
SUITE = report(ALL_PASSED)
CONTROL = report({FIRES: F, EQUAL: F})


def judged(
    suite: SuiteReport | ReportError = SUITE,
    control: SuiteReport | ReportError = CONTROL,
    expected: tuple[CollectedTest, ...] = EXPECTED,
) -> Judgement:
    """The judgement on the mode ``abstain``."""
    return judge(expected, suite, control, "abstain")


def test_a_complete_run_is_a_pass() -> None:
    """All tests passed, nothing was swallowed, and the negative control fired."""
    judgement = judged()

    assert (judgement.verdict, judgement.cause, judgement.reason) == (Verdict.PASSED, None, None)
    assert (judgement.depth, judgement.runner) == (Depth.EQUAL, "v1")
    assert (judgement.negative_control, judgement.swallowed_errors) == (Control.FIRED, 0)
    assert (judgement.counts.expected, judgement.counts.executed) == (4, 4)


@pytest.mark.parametrize(
    ("ends", "cause", "depth"),
    [
        ({EQUAL: F}, Cause.BEHAVIOUR, Depth.FIRES),
        ({EQUAL: E}, Cause.BEHAVIOUR, Depth.FIRES),
        ({REFUSES: F}, Cause.BEHAVIOUR, Depth.BOOTS),
        ({FIRES: F, EQUAL: F}, Cause.BEHAVIOUR, Depth.BOOTS),
        ({BOOT: F}, Cause.BOOT, Depth.IMPORTS),
        ({BOOT: E, FIRES: E, EQUAL: E, REFUSES: E}, Cause.BOOT, Depth.IMPORTS),
        ({EQUAL: F, REFUSES: S}, Cause.BEHAVIOUR, Depth.BOOTS),
    ],
)
def test_a_failed_test_is_a_failure(
    ends: dict[CollectedTest, CaseOutcome], cause: Cause, depth: Depth
) -> None:
    """The cause is boot only if plain vLLM did not boot, and the depth stops before the failure."""
    judgement = judged(report(ALL_PASSED | ends))

    assert (judgement.verdict, judgement.cause) == (Verdict.FAILED, cause)
    assert judgement.depth is depth
    assert judgement.reason is not None
    assert "tests failed" in judgement.reason


def test_a_failure_counts_even_where_the_control_has_no_report() -> None:
    """What failed, failed, whether or not the suite would have noticed a dead plug-in."""
    judgement = judged(report(ALL_PASSED | {EQUAL: F}), ReportError("control.xml: missing"))

    assert judgement.verdict is Verdict.FAILED
    assert judgement.negative_control is Control.NOT_RUN


def test_swallowed_errors_are_a_failure() -> None:
    """Tests that pass while steps fail behind them are no pass."""
    judgement = judged(report(ALL_PASSED, swallowed_errors="2"))

    assert (judgement.verdict, judgement.cause) == (Verdict.FAILED, Cause.BEHAVIOUR)
    assert judgement.swallowed_errors == 2


OTHER = CollectedTest("t.py::test_other", MODES, Depth.FIRES, None, detects_dead=True)
NO_SENTINEL = replace(FIRES, sentinel=None)
INCOMPLETE: dict[str, tuple[SuiteReport, tuple[CollectedTest, ...], str]] = {
    "all skipped": (report(dict.fromkeys(EXPECTED, S)), EXPECTED, "4 tests were skipped"),
    "one skipped": (report(ALL_PASSED | {REFUSES: S}), EXPECTED, "1 tests were skipped"),
    "nothing ran": (report({}), EXPECTED, "4 tests did not run"),
    "one missing": (report({BOOT: P, FIRES: P, EQUAL: P}), EXPECTED, "1 tests did not run"),
    "nothing expected": (report({}), (), "no test is expected"),
    "one too many": (report(ALL_PASSED | {OTHER: P}), EXPECTED, "unexpected tests ran"),
    "no sentinel": (SUITE, (BOOT, NO_SENTINEL, EQUAL, REFUSES), "sentinels missing: eos_fires"),
    "no lane": (
        SUITE,
        (replace(BOOT, sentinel=None), FIRES, EQUAL, REFUSES),
        "sentinels missing: scheduling",
    ),
    "no count": (report(ALL_PASSED, swallowed_errors=""), EXPECTED, "errors swallowed"),
    "negative count": (report(ALL_PASSED, swallowed_errors="-1"), EXPECTED, "errors swallowed"),
    "no runner": (report(ALL_PASSED, runner=""), EXPECTED, "one runner"),
    "two runners": (report(ALL_PASSED, runner="v1+v2"), EXPECTED, "one runner"),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_an_incomplete_run_is_no_evidence(name: str) -> None:
    """A run without a failure that is not all there is neither a pass nor a failure."""
    suite, expected, reason = INCOMPLETE[name]
    judgement = judged(suite, expected=expected)

    assert (judgement.verdict, judgement.cause) == (Verdict.NO_EVIDENCE, None)
    assert judgement.reason is not None
    assert reason in judgement.reason


@pytest.mark.parametrize(
    ("control", "reason", "value"),
    [
        (report({FIRES: F, EQUAL: P}), "did not fire: t.py::test_equal", Control.NOT_FIRED),
        (report({FIRES: F, EQUAL: E}), "did not fire: t.py::test_equal", Control.NOT_FIRED),
        (report({FIRES: F, EQUAL: S}), "did not fire: t.py::test_equal", Control.NOT_FIRED),
        (report({FIRES: F}), "did not fire: t.py::test_equal", Control.NOT_FIRED),
        (report({}), "did not fire", Control.NOT_FIRED),
        (report({FIRES: F, EQUAL: F, BOOT: F}), "ran other tests", Control.NOT_FIRED),
        (ReportError("control.xml: malformed"), "has no report", Control.NOT_RUN),
    ],
)
def test_a_suite_that_misses_a_dead_plugin_is_no_evidence(
    control: SuiteReport | ReportError, reason: str, value: Control
) -> None:
    """Every test of the control has to fail in its body; a broken fixture proves nothing."""
    judgement = judged(control=control)

    assert (judgement.verdict, judgement.negative_control) == (Verdict.NO_EVIDENCE, value)
    assert judgement.reason is not None
    assert reason in judgement.reason


def test_a_suite_without_a_control_is_no_evidence() -> None:
    """A suite in which no test would notice a dead plug-in cannot pass."""
    careless = tuple(replace(test, detects_dead=False) for test in EXPECTED)
    suite = SuiteReport(SUITE.cases, SUITE.properties)

    judgement = judged(suite, report({}), careless)
    assert (judgement.verdict, judgement.negative_control) == (
        Verdict.NO_EVIDENCE,
        Control.NOT_FIRED,
    )


def test_a_run_without_a_report_is_no_evidence() -> None:
    """The reason is the reader's."""
    judgement = judged(ReportError("suite.xml: malformed XML"))

    assert judgement.verdict is Verdict.NO_EVIDENCE
    assert judgement.reason == "suite.xml: malformed XML"
    assert judgement.depth is Depth.IMPORTS


def test_modes_are_judged_apart() -> None:
    """A failure in one mode leaves the other's verdict alone; a test without a mode is in both."""
    vfd = CollectedTest("t.py::test_vfd", ("vfd",), Depth.FIRES, "vfd_candidate_filters", True)  # noqa: FBT003
    shared = CollectedTest("t.py::test_shared", (), Depth.BOOTS, None, detects_dead=False)
    expected = (*EXPECTED, vfd, shared)
    suite = report(ALL_PASSED | {vfd: F, shared: P})
    control = report({FIRES: F, EQUAL: F, vfd: F})

    abstain = judge(expected, suite, control, "abstain")
    assert (abstain.verdict, abstain.counts.expected) == (Verdict.PASSED, 5)
    steered = judge(expected, suite, control, "vfd")
    assert (steered.verdict, steered.counts.expected) == (Verdict.FAILED, 2)


def test_a_mode_without_sentinels_cannot_be_judged() -> None:
    """A new mode has to say first which tests it cannot do without."""
    with pytest.raises(UsageError, match="REQUIRED_SENTINELS"):
        judge(EXPECTED, SUITE, CONTROL, "new")


@given(
    ends=st.fixed_dictionaries({test: st.sampled_from([*CaseOutcome, None]) for test in EXPECTED}),
    dead=st.fixed_dictionaries({t: st.sampled_from([*CaseOutcome, None]) for t in (FIRES, EQUAL)}),
    swallowed=st.sampled_from(["0", "1", "", "x"]),
    runner=st.sampled_from(["v1", "v2", "v1+v2", ""]),
)
def test_nothing_but_a_complete_run_is_a_pass(
    ends: dict[CollectedTest, CaseOutcome | None],
    dead: dict[CollectedTest, CaseOutcome | None],
    swallowed: str,
    runner: str,
) -> None:
    """Over all ways in which tests and control end, a pass has all of what it needs."""
    suite = report(_ran(ends), swallowed_errors=swallowed, runner=runner)
    judgement = judged(suite, report(_ran(dead)))

    complete = (
        set(ends.values()) == {P}
        and set(dead.values()) == {F}
        and swallowed == "0"
        and runner in ("v1", "v2")
    )
    assert (judgement.verdict is Verdict.PASSED) == complete
    assert (judgement.verdict is Verdict.FAILED) == (judgement.cause is not None)
    assert (judgement.verdict is Verdict.PASSED) == (judgement.reason is None)


def _ran(ends: dict[CollectedTest, CaseOutcome | None]) -> dict[CollectedTest, CaseOutcome]:
    return {test: end for test, end in ends.items() if end is not None}


def test_an_early_end_has_no_counts() -> None:
    """What ends before the suite says how far it got and why."""
    judgement = early(Verdict.FAILED, Cause.IMPORT, "no module\nnamed x", Depth.INSTALLS)

    assert (judgement.reason, judgement.depth) == ("no module named x", Depth.INSTALLS)
    assert (judgement.counts.expected, judgement.negative_control) == (0, Control.NOT_RUN)
    assert (judgement.runner, judgement.swallowed_errors) == (None, None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("see /home/me/out/suite.log", "see suite.log"),
        ("see ~/out/suite.log, then", "see suite.log, then"),
        ("got https://user:word@index.example/simple/x/ (404)", "got (address) (404)"),
        ("file:///srv/wheels/ is gone", "(address) is gone"),
        ("two\n  lines", "two lines"),
        ("compat/behaviour/test_a.py::test_b[x/y]", "compat/behaviour/test_a.py::test_b[x/y]"),
        ("1/2 of vllm==0.28.0", "1/2 of vllm==0.28.0"),
    ],
)
def test_a_reason_names_no_place_of_this_machine(text: str, line: str) -> None:
    """Addresses and folders do not get into the registry; names of tests do."""
    assert clean(text) == line


@given(st.text(max_size=2000))
def test_a_reason_is_one_short_line(text: str) -> None:
    """Whatever a tool printed, the reason fits a row."""
    line = clean(text)

    assert len(line) <= LONGEST_REASON
    assert len(line.splitlines()) <= 1
    assert "://" not in line
