"""From what had to run and what did run to a verdict. No file is read here.

A pass needs every expected test passed and no other, the sentinels among them, no swallowed
error, and a negative control that fired. A failed test is a failure; all else is no evidence.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat.axes import RUNNERS
from compat.cell.junit import CaseOutcome
from compat.errors import ReportError, UsageError
from value_steer.contracts.surface import Mode
from value_steer.registry.model import Cause, Control, Depth, TestCounts, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from compat.cell.junit import CaseResult, SuiteReport
    from compat.cell.reports import CollectedTest

REQUIRED_SENTINELS = {
    Mode.ABSTAIN.value: ("eos_fires", "scheduling"),
    Mode.VFD.value: ("vfd_candidate_filters", "scheduling"),
}
"""Tests without which a mode has no evidence, whatever else passed: it acts, and where it says."""

LONGEST_REASON = 300

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Judgement:
    """The part of a row that a run decides.

    Attributes:
        verdict: What the run says.
        cause: What it failed at, if it failed.
        reason: Why it is no pass, in a line without paths or addresses.
        depth: How deep everything was fine.
        counts: How the tests ended.
        negative_control: Whether the suite noticed a plug-in that does nothing.
        swallowed_errors: Steps that went on after an error; ``None`` if not counted.
        runner: Generation of the model runner; ``None`` if it is not known.
    """

    verdict: Verdict
    cause: Cause | None
    reason: str | None
    depth: Depth
    counts: TestCounts
    negative_control: Control
    swallowed_errors: int | None
    runner: str | None


def early(verdict: Verdict, cause: Cause | None, reason: str, depth: Depth) -> Judgement:
    """The judgement on a run that ended before its suite was complete."""
    return Judgement(verdict, cause, clean(reason), depth, _NO_TESTS, Control.NOT_RUN, None, None)


def judge(
    expected: Sequence[CollectedTest],
    suite: SuiteReport | ReportError,
    control: SuiteReport | ReportError,
    mode: str,
) -> Judgement:
    """Judge a mode by a run of the suite and a run of its negative control.

    Args:
        expected: All tests that the suite consists of.
        suite: What its report says, or why there is none.
        control: The same for the run against a plug-in that does nothing.
        mode: The mode to judge.

    Raises:
        UsageError: It is not known which sentinels the mode needs.
    """
    if mode not in REQUIRED_SENTINELS:
        msg = f"mode {mode!r} has no sentinels; name them in REQUIRED_SENTINELS"
        raise UsageError(msg)
    if isinstance(suite, ReportError):
        return early(Verdict.NO_EVIDENCE, None, str(suite), Depth.IMPORTS)
    tests = [test for test in expected if not test.modes or mode in test.modes]
    counts = _count(tests, suite, mode, known={test.id for test in expected})
    fired, silence = _control(expected, control, mode)
    verdict, cause, reason = _verdict(tests, suite, counts, silence)
    return Judgement(
        verdict=verdict,
        cause=cause,
        reason=reason and clean(reason),
        depth=_depth(tests, suite),
        counts=counts,
        negative_control=fired,
        swallowed_errors=_swallowed(suite),
        runner=_runner(suite),
    )


def clean(text: str) -> str:
    """One line of bounded length, with addresses left out and paths cut to their last part."""
    line = " ".join(_PATH.sub("", _ADDRESS.sub("(address)", text)).split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


def _verdict(
    tests: Sequence[CollectedTest], suite: SuiteReport, counts: TestCounts, silence: str
) -> tuple[Verdict, Cause | None, str | None]:
    bad = [
        test for test in tests if _outcome(suite, test) in (CaseOutcome.FAILED, CaseOutcome.ERROR)
    ]
    if bad:
        cause = Cause.BOOT if any(t.depth is Depth.BOOTS for t in bad) else Cause.BEHAVIOUR
        reason = f"{len(bad)} of {len(tests)} tests failed: {_some([t.id for t in bad])}"
        return Verdict.FAILED, cause, reason
    if _swallowed(suite):
        reason = f"{_swallowed(suite)} errors were swallowed while tests passed"
        return Verdict.FAILED, Cause.BEHAVIOUR, reason
    gaps = _gaps(tests, suite, counts) + ([silence] if silence else [])
    if gaps:
        return Verdict.NO_EVIDENCE, None, "; ".join(gaps)
    return Verdict.PASSED, None, None


def _gaps(tests: Sequence[CollectedTest], suite: SuiteReport, counts: TestCounts) -> list[str]:
    """Why a run without a failure is still no pass."""
    absent = [test.id for test in tests if test.id not in suite.cases]
    skipped = [test.id for test in tests if _outcome(suite, test) is CaseOutcome.SKIPPED]
    gaps = {
        "no test is expected": not tests,
        f"{len(absent)} tests did not run: {_some(absent)}": absent,
        f"{len(skipped)} tests were skipped: {_some(skipped)}": skipped,
        f"unexpected tests ran: {_some(counts.unexpected)}": counts.unexpected,
        f"sentinels missing: {_some(counts.sentinels_missing)}": counts.sentinels_missing,
        "the suite does not state the errors swallowed": _swallowed(suite) is None,
        "the suite does not state one runner": _runner(suite) is None,
    }
    return [text for text, applies in gaps.items() if applies]


def _control(
    expected: Sequence[CollectedTest], control: SuiteReport | ReportError, mode: str
) -> tuple[Control, str]:
    """Whether the negative control fired for a mode and, if not, why not."""
    if isinstance(control, ReportError):
        return Control.NOT_RUN, f"the negative control has no report: {control}"
    watchful = [test for test in expected if test.detects_dead]
    extra = sorted(set(control.cases) - {test.id for test in watchful})
    if extra:
        return Control.NOT_FIRED, f"the negative control ran other tests: {_some(extra)}"
    own = [test for test in watchful if not test.modes or mode in test.modes]
    if not own:
        return Control.NOT_FIRED, "the negative control has no test"
    silent = [test.id for test in own if _outcome(control, test) is not CaseOutcome.FAILED]
    if silent:
        return Control.NOT_FIRED, f"the negative control did not fire: {_some(silent)}"
    return Control.FIRED, ""


def _count(
    tests: Sequence[CollectedTest], suite: SuiteReport, mode: str, known: Collection[str]
) -> TestCounts:
    ends = Counter(_outcome(suite, test) for test in tests)
    passed = {test.sentinel for test in tests if _outcome(suite, test) is CaseOutcome.PASSED}
    demanded = {*REQUIRED_SENTINELS[mode], *(t.sentinel for t in tests if t.sentinel)}
    return TestCounts(
        expected=len(tests),
        executed=ends[CaseOutcome.PASSED] + ends[CaseOutcome.FAILED] + ends[CaseOutcome.ERROR],
        passed=ends[CaseOutcome.PASSED],
        failed=ends[CaseOutcome.FAILED],
        errors=ends[CaseOutcome.ERROR],
        skipped=ends[CaseOutcome.SKIPPED],
        sentinels_missing=tuple(sorted(demanded - passed)),
        unexpected=tuple(sorted(set(suite.cases) - set(known))),
    )


def _depth(tests: Sequence[CollectedTest], suite: SuiteReport) -> Depth:
    """The deepest level with tests at which, and above which, all tests passed."""
    reached = Depth.IMPORTS
    for depth in sorted({test.depth for test in tests}):
        level = [test for test in tests if test.depth is depth]
        if any(_outcome(suite, test) is not CaseOutcome.PASSED for test in level):
            break
        reached = depth
    return reached


def _outcome(report: SuiteReport, test: CollectedTest) -> CaseOutcome | None:
    case: CaseResult | None = report.cases.get(test.id)
    return case.outcome if case else None


def _swallowed(suite: SuiteReport) -> int | None:
    text = suite.properties.get("value_steer.swallowed_errors", "")
    return int(text) if _COUNT.fullmatch(text) else None


def _runner(suite: SuiteReport) -> str | None:
    runner = suite.properties.get("value_steer.runner")
    return runner if runner in RUNNERS else None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


_ADDRESS = re.compile(r"[\w+.-]*://[^\s'\")>\]]*")
_PATH = re.compile(r"(?<![\w./-])~?/(?:[^/\s'\":]+/)+")
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_NO_TESTS = TestCounts(0, 0, 0, 0, 0, 0, (), ())
