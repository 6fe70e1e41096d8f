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
from value_steer.registry.model import Cause, Control, Depth, TestCounts, Verdict

MODES = ("abstain",)
BOOT = CollectedTest("t.py::test_boots", MODES, Depth.BOOTS, "scheduling", detects_dead=False)
FIRES = CollectedTest("t.py::test_fires", MODES, Depth.FIRES, "eos_fires", detects_dead=True)
EQUAL = CollectedTest("t.py::test_equal", MODES, Depth.EQUAL, None, detects_dead=True)
OTHER = CollectedTest("t.py::test_other", MODES, Depth.FIRES, None, detects_dead=True)
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
    assert judgement.counts == TestCounts(4, 4, 4, 0, 0, 0, (), ())


def test_the_counts_are_those_of_the_report() -> None:
    """Each end is counted by itself; what failed was executed, what was skipped or is absent not.

    A test that nobody expected and a sentinel that did not pass are named.
    """
    plain = [
        CollectedTest(f"t.py::test_{n}", MODES, Depth.EQUAL, None, detects_dead=False)
        for n in range(10)
    ]
    ends = dict(zip(plain, [P] * 4 + [F] * 3 + [E, S], strict=False))
    judgement = judged(
        report(ALL_PASSED | ends | {FIRES: E, OTHER: P}), expected=(*EXPECTED, *plain)
    )

    assert judgement.counts == TestCounts(
        expected=14,
        executed=12,
        passed=7,
        failed=3,
        errors=2,
        skipped=1,
        sentinels_missing=("eos_fires",),
        unexpected=("t.py::test_other",),
    )


@pytest.mark.parametrize(
    ("ends", "cause", "depth", "reason"),
    [
        ({EQUAL: F}, Cause.BEHAVIOUR, Depth.FIRES, f"1 of 4 tests failed: {EQUAL.id}"),
        ({EQUAL: E}, Cause.BEHAVIOUR, Depth.FIRES, f"1 of 4 tests failed: {EQUAL.id}"),
        ({REFUSES: F}, Cause.BEHAVIOUR, Depth.BOOTS, f"1 of 4 tests failed: {REFUSES.id}"),
        (
            {FIRES: F, EQUAL: F},
            Cause.BEHAVIOUR,
            Depth.BOOTS,
            f"2 of 4 tests failed: {FIRES.id}, {EQUAL.id}",
        ),
        ({BOOT: F}, Cause.BOOT, Depth.IMPORTS, f"1 of 4 tests failed: {BOOT.id}"),
        (
            dict.fromkeys(EXPECTED, E),
            Cause.BOOT,
            Depth.IMPORTS,
            f"4 of 4 tests failed: {BOOT.id}, {FIRES.id}, {EQUAL.id} and 1 more",
        ),
        ({EQUAL: F, REFUSES: S}, Cause.BEHAVIOUR, Depth.BOOTS, f"1 of 4 tests failed: {EQUAL.id}"),
    ],
)
def test_a_failed_test_is_a_failure(
    ends: dict[CollectedTest, CaseOutcome], cause: Cause, depth: Depth, reason: str
) -> None:
    """The cause is boot only if plain vLLM did not boot, and the depth stops before the failure.

    The reason names what failed, three tests at most.
    """
    judgement = judged(report(ALL_PASSED | ends))

    assert (judgement.verdict, judgement.cause) == (Verdict.FAILED, cause)
    assert judgement.depth is depth
    assert judgement.reason == reason


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
    assert judgement.reason == "2 errors were swallowed while tests passed"


NO_SENTINEL = replace(FIRES, sentinel=None)
SILENT = "the suite does not state the errors swallowed"
NO_RUNNER = "the suite does not state one runner"
INCOMPLETE: dict[str, tuple[SuiteReport, tuple[CollectedTest, ...], str]] = {
    "all skipped": (
        report(dict.fromkeys(EXPECTED, S)),
        EXPECTED,
        f"4 tests were skipped: {BOOT.id}, {FIRES.id}, {EQUAL.id} and 1 more"
        "; sentinels missing: eos_fires, scheduling",
    ),
    "three skipped": (
        report(ALL_PASSED | {FIRES: S, EQUAL: S, REFUSES: S}),
        EXPECTED,
        f"3 tests were skipped: {FIRES.id}, {EQUAL.id}, {REFUSES.id}; sentinels missing: eos_fires",
    ),
    "one skipped": (
        report(ALL_PASSED | {REFUSES: S}),
        EXPECTED,
        f"1 tests were skipped: {REFUSES.id}",
    ),
    "nothing ran": (
        report({}),
        EXPECTED,
        f"4 tests did not run: {BOOT.id}, {FIRES.id}, {EQUAL.id} and 1 more"
        "; sentinels missing: eos_fires, scheduling",
    ),
    "one missing": (
        report({BOOT: P, FIRES: P, EQUAL: P}),
        EXPECTED,
        f"1 tests did not run: {REFUSES.id}",
    ),
    "nothing expected": (
        report({}),
        (),
        "no test is expected; sentinels missing: eos_fires, scheduling"
        f"; the negative control ran other tests: {EQUAL.id}, {FIRES.id}",
    ),
    "one too many": (
        report(ALL_PASSED | {OTHER: P}),
        EXPECTED,
        f"unexpected tests ran: {OTHER.id}",
    ),
    "no sentinel": (SUITE, (BOOT, NO_SENTINEL, EQUAL, REFUSES), "sentinels missing: eos_fires"),
    "no lane": (
        SUITE,
        (replace(BOOT, sentinel=None), FIRES, EQUAL, REFUSES),
        "sentinels missing: scheduling",
    ),
    "no count": (report(ALL_PASSED, swallowed_errors=""), EXPECTED, SILENT),
    "negative count": (report(ALL_PASSED, swallowed_errors="-1"), EXPECTED, SILENT),
    "no runner": (report(ALL_PASSED, runner=""), EXPECTED, NO_RUNNER),
    "two runners": (report(ALL_PASSED, runner="v1+v2"), EXPECTED, NO_RUNNER),
    "no property": (SuiteReport(SUITE.cases, {}), EXPECTED, f"{SILENT}; {NO_RUNNER}"),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_an_incomplete_run_is_no_evidence(name: str) -> None:
    """A run without a failure that is not all there is neither a pass nor a failure."""
    suite, expected, reason = INCOMPLETE[name]
    judgement = judged(suite, expected=expected)

    assert (judgement.verdict, judgement.cause) == (Verdict.NO_EVIDENCE, None)
    assert judgement.reason == reason


@pytest.mark.parametrize(
    ("control", "reason"),
    [
        (report({FIRES: F, EQUAL: P}), f"did not fire: {EQUAL.id}"),
        (report({FIRES: F, EQUAL: E}), f"did not fire: {EQUAL.id}"),
        (report({FIRES: F, EQUAL: S}), f"did not fire: {EQUAL.id}"),
        (report({FIRES: F}), f"did not fire: {EQUAL.id}"),
        (report({}), f"did not fire: {FIRES.id}, {EQUAL.id}"),
        (report({FIRES: F, EQUAL: F, BOOT: F}), f"ran other tests: {BOOT.id}"),
        (ReportError("control.xml: malformed"), "has no report: control.xml: malformed"),
    ],
)
def test_a_suite_that_misses_a_dead_plugin_is_no_evidence(
    control: SuiteReport | ReportError, reason: str
) -> None:
    """Every test of the control has to fail in its body; a broken fixture proves nothing."""
    judgement = judged(control=control)
    ran = isinstance(control, SuiteReport)

    assert judgement.verdict is Verdict.NO_EVIDENCE
    assert judgement.negative_control is (Control.NOT_FIRED if ran else Control.NOT_RUN)
    assert judgement.reason == f"the negative control {reason}"


def test_a_suite_without_a_control_is_no_evidence() -> None:
    """A suite in which no test would notice a dead plug-in cannot pass."""
    careless = tuple(replace(test, detects_dead=False) for test in EXPECTED)
    suite = SuiteReport(SUITE.cases, SUITE.properties)

    judgement = judged(suite, report({}), careless)
    assert (judgement.verdict, judgement.negative_control) == (
        Verdict.NO_EVIDENCE,
        Control.NOT_FIRED,
    )
    assert judgement.reason == "the negative control has no test"


def test_a_run_without_a_report_is_no_evidence() -> None:
    """The reason is the reader's."""
    judgement = judged(ReportError("suite.xml: malformed XML"))

    assert judgement.verdict is Verdict.NO_EVIDENCE
    assert judgement.reason == "suite.xml: malformed XML"
    assert judgement.depth is Depth.IMPORTS


VFD = CollectedTest("t.py::test_vfd", ("vfd",), Depth.FIRES, "vfd_candidate_filters", True)  # noqa: FBT003
SHARED = CollectedTest("t.py::test_shared", (), Depth.BOOTS, "scheduling", detects_dead=True)
BOTH = (*EXPECTED, VFD, SHARED)
BOTH_PASSED = dict.fromkeys(BOTH, P)
BOTH_FIRED = {FIRES: F, EQUAL: F, VFD: F, SHARED: F}


@pytest.mark.parametrize(
    ("ends", "dead", "abstain", "vfd"),
    [
        ({}, {}, Verdict.PASSED, Verdict.PASSED),
        ({VFD: F}, {}, Verdict.PASSED, Verdict.FAILED),
        ({EQUAL: F}, {}, Verdict.FAILED, Verdict.PASSED),
        ({SHARED: F}, {}, Verdict.FAILED, Verdict.FAILED),
        ({}, {VFD: P}, Verdict.PASSED, Verdict.NO_EVIDENCE),
        ({}, {EQUAL: P}, Verdict.NO_EVIDENCE, Verdict.PASSED),
        ({}, {SHARED: P}, Verdict.NO_EVIDENCE, Verdict.NO_EVIDENCE),
    ],
)
def test_modes_are_judged_apart(
    ends: dict[CollectedTest, CaseOutcome],
    dead: dict[CollectedTest, CaseOutcome],
    abstain: Verdict,
    vfd: Verdict,
) -> None:
    """A failure or a silent control of one mode leaves the other's verdict alone.

    A test without a mode is in both.
    """
    suite, control = report(BOTH_PASSED | ends), report(BOTH_FIRED | dead)
    first, second = (judge(BOTH, suite, control, mode) for mode in ("abstain", "vfd"))

    assert (first.verdict, first.counts.expected) == (abstain, 5)
    assert (second.verdict, second.counts.expected) == (vfd, 2)


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

    assert (judgement.verdict, judgement.cause) == (Verdict.FAILED, Cause.IMPORT)
    assert (judgement.reason, judgement.depth) == ("no module named x", Depth.INSTALLS)
    assert judgement.counts == TestCounts(0, 0, 0, 0, 0, 0, (), ())
    assert judgement.negative_control is Control.NOT_RUN
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


@pytest.mark.parametrize(
    ("length", "kept"),
    [(LONGEST_REASON - 1, "x"), (LONGEST_REASON, "x"), (LONGEST_REASON + 1, "…")],
)
def test_a_reason_that_was_cut_says_so(length: int, kept: str) -> None:
    """What fits is told whole; what does not ends in an ellipsis and is as long as may be."""
    line = clean("x" * length)

    assert len(line) == min(length, LONGEST_REASON)
    assert line == "x" * (len(line) - 1) + kept


@given(st.text(max_size=100), st.integers(1, 100))
def test_a_reason_is_one_short_line(text: str, times: int) -> None:
    """Whatever a tool printed, the reason fits a row."""
    line = clean(text * times)

    assert len(line) <= LONGEST_REASON
    assert len(line.splitlines()) <= 1
    assert "://" not in line
