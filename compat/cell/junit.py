"""A run's JUnit report (pytest's ``xunit2``), read as coming from a stranger."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from compat.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from xml.etree.ElementTree import Element

__all__ = ["CaseOutcome", "CaseResult", "ReportError", "SuiteReport", "node_id", "read_report"]

LARGEST_BYTES = 16 << 20
"""A larger report is refused: 16 MiB."""

MOST_TESTS = 10_000
"""A report of more tests is refused; the suite has 500."""

LONGEST_NAME = 4096
"""A test with a longer id is refused, and so is a property with a longer name or value."""


class CaseOutcome(str, Enum):
    """How a test ended: ``failed`` in its body, ``error`` in its fixtures."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The end of one test."""

    outcome: CaseOutcome
    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class SuiteReport:
    """All tests of a run by node id, and the run's properties."""

    cases: Mapping[str, CaseResult]
    properties: Mapping[str, str]


def read_report(path: Path) -> SuiteReport:
    """Read a report.

    Raises:
        ReportError: It is missing, beyond a bound, malformed, has a document type or entities,
            names a test twice, or holds other than the tests it counts.
    """
    try:
        return _suite(_root(_content(path)))
    except ReportError as error:
        msg = f"{path.name}: {error}"
        raise ReportError(msg) from error


def node_id(classname: str, name: str) -> str:
    """The node id of a test that JUnit knows by class name and name.

    pytest joins path and classes with dots; classes are the trailing parts that start with
    ``Test``.
    """
    parts = classname.split(".")
    at = len(parts)
    while at > 1 and parts[at - 1].startswith("Test"):
        at -= 1
    return "::".join(["/".join(parts[:at]) + ".py", *parts[at:], name])


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        msg = f"was not written or cannot be read ({error.strerror}); see the log of its step"
        raise ReportError(msg) from error
    if len(content) > LARGEST_BYTES:
        msg = f"larger than {LARGEST_BYTES >> 20} MiB; a report of the suite is far smaller"
        raise ReportError(msg)
    return content


def _root(content: bytes) -> Element:
    try:
        root: Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        msg = "has a document type or entities, which pytest never writes"
        raise ReportError(msg) from error
    except (ParseError, ValueError, LookupError) as error:
        msg = f"malformed XML ({error})"
        raise ReportError(msg) from error
    return root


def _suite(root: Element) -> SuiteReport:
    suites = root.findall("testsuite")
    if root.tag != "testsuites" or len(suites) != 1:
        msg = "must be one testsuite in testsuites"
        raise ReportError(msg)
    (suite,) = suites
    cases = _cases(suite.findall("testcase"))
    # pytest counts a test that passes and then cannot be cleaned up as two.
    errors = sum(case.outcome is CaseOutcome.ERROR for case in cases.values())
    stated = suite.get("tests", "no")
    if stated not in map(str, range(len(cases), len(cases) + errors + 1)):
        msg = f"counts {stated[:20]} tests and holds {len(cases)}"
        raise ReportError(msg)
    return SuiteReport(cases, _properties(suite.iterfind("properties/property")))


def _cases(elements: Iterable[Element]) -> dict[str, CaseResult]:
    cases: dict[str, CaseResult] = {}
    for number, element in enumerate(elements, start=1):
        _require(number <= MOST_TESTS, f"has more than {MOST_TESTS} tests")
        name = node_id(element.get("classname", ""), element.get("name", ""))
        _require(len(name) <= LONGEST_NAME, f"names a test in more than {LONGEST_NAME} characters")
        case = _case(element)
        former = cases.get(name)
        if former is None:
            cases[name] = case
        # pytest writes a test that fails and then cannot be cleaned up as two cases.
        elif (former.outcome, case.outcome) != (CaseOutcome.FAILED, CaseOutcome.ERROR):
            msg = f"names {name} twice"
            raise ReportError(msg)
    return cases


def _case(element: Element) -> CaseResult:
    for tag, outcome in _OUTCOMES.items():
        child = element.find(tag)
        if child is not None:
            return CaseResult(outcome, _seconds(element), child.get("message", ""))
    return CaseResult(CaseOutcome.PASSED, _seconds(element), "")


def _seconds(element: Element) -> float:
    text = element.get("time", "")
    seconds = float(text) if _NUMBER.fullmatch(text) else math.inf
    if not math.isfinite(seconds):
        msg = f"time = {text[:40]!r}: must be a number of seconds"
        raise ReportError(msg)
    return seconds


def _properties(elements: Iterable[Element]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for element in elements:
        name = element.get("name", "")
        if name in properties:
            msg = f"states the property {name[:80]!r} twice"
            raise ReportError(msg)
        value = element.get("value", "")
        longest = max(len(name), len(value))
        _require(longest <= LONGEST_NAME, f"has a property of more than {LONGEST_NAME} characters")
        properties[name] = value
    return properties


def _require(holds: bool, problem: str) -> None:  # noqa: FBT001  (a condition, not an option)
    if not holds:
        raise ReportError(problem)


_NUMBER = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_OUTCOMES = {
    "error": CaseOutcome.ERROR,
    "failure": CaseOutcome.FAILED,
    "skipped": CaseOutcome.SKIPPED,
}
