"""JUnit reports: pytest's own are read, everything else is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat.cell.junit import (
    LARGEST_BYTES,
    LONGEST_NAME,
    MOST_TESTS,
    CaseOutcome,
    ReportError,
    node_id,
    read_report,
)

if TYPE_CHECKING:
    from pathlib import Path

_TESTS = """
import pytest

@pytest.fixture
def bad_setup():
    raise OSError("no")

@pytest.fixture
def bad_teardown():
    yield
    raise OSError("no")

def test_good(record_testsuite_property):
    record_testsuite_property("value_steer.runner", "v1")

def test_fails(): assert 0, "because <&> \\x1b"
def test_errs(bad_setup): pass
def test_ends_badly(bad_teardown): pass
def test_fails_and_ends_badly(bad_teardown): assert 0
def test_skips(): pytest.skip("no device")

@pytest.mark.xfail(strict=True)
def test_expected_to_fail(): assert 0

@pytest.mark.xfail(strict=True)
def test_fails_by_passing(): pass

@pytest.mark.parametrize("x", ["a.b", "c::d", "e/f[g]", "\\x07é"])
def test_table(x): pass

class TestGroup:
    def test_good(self): pass
    class TestInner:
        def test_good(self): pass
"""

_LISTING = """
import json, pathlib
def pytest_collection_finish(session):
    pathlib.Path("ids.json").write_text(json.dumps([item.nodeid for item in session.items]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pytest ran tests that end in every way."""
    folder = tmp_path_factory.mktemp("run")
    suite = folder / "compat" / "behaviour"
    suite.mkdir(parents=True)
    (suite / "test_ends.py").write_text(_TESTS, encoding="utf-8")
    (folder / "conftest.py").write_text(_LISTING, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    command += ["--junitxml=suite.xml", "-o", "junit_family=xunit2", "compat"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 1, done.stdout
    return folder


def test_ids_are_those_of_pytest(run: Path) -> None:
    """Parameters and classes included, the ids are the node ids that collection gave."""
    collected = json.loads((run / "ids.json").read_text(encoding="utf-8"))

    assert sorted(read_report(run / "suite.xml").cases) == sorted(collected)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("test_good", CaseOutcome.PASSED),
        ("test_fails", CaseOutcome.FAILED),
        ("test_errs", CaseOutcome.ERROR),
        ("test_ends_badly", CaseOutcome.ERROR),
        ("test_fails_and_ends_badly", CaseOutcome.FAILED),
        ("test_skips", CaseOutcome.SKIPPED),
        ("test_expected_to_fail", CaseOutcome.SKIPPED),
        ("test_fails_by_passing", CaseOutcome.FAILED),
    ],
)
def test_outcomes_are_those_of_pytest(run: Path, name: str, outcome: CaseOutcome) -> None:
    """A failure of the body and an error of a fixture are told apart."""
    case = read_report(run / "suite.xml").cases[f"compat/behaviour/test_ends.py::{name}"]

    assert case.outcome is outcome


def test_properties_of_the_suite_are_read(run: Path) -> None:
    """What tests record about the suite comes along."""
    assert read_report(run / "suite.xml").properties == {"value_steer.runner": "v1"}


def test_classes_are_not_taken_for_folders() -> None:
    """The trailing parts of a class name that start with Test are classes."""
    assert node_id("a.test_b.TestC", "test_d[1.5]") == "a/test_b.py::TestC::test_d[1.5]"


CASE = '<testcase classname="a.test_b" name="test_c" time="0.1"/>'


def report(cases: str = CASE, *, tests: int = 1, properties: str = "") -> str:
    """The text of a report."""
    inner = f"<properties>{properties}</properties>{cases}"
    return f'<testsuites><testsuite name="s" tests="{tests}">{inner}</testsuite></testsuites>'


def test_a_plain_report_is_read(tmp_path: Path) -> None:
    """The report that the refusals below are made from is a good one."""
    path = tmp_path / "suite.xml"
    path.write_text(report(), encoding="utf-8")

    case = read_report(path).cases["a/test_b.py::test_c"]
    assert (case.outcome, case.seconds, case.message) == (CaseOutcome.PASSED, 0.1, "")


_LAUGHS = (
    '<!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    '<testsuites><testsuite tests="0">&b;</testsuite></testsuites>'
)
PROPERTY = '<property name="p" value="1"/>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "malformed XML"),
        (report()[:-5], "malformed XML"),
        ('<?xml version="1.0" encoding="martian"?><testsuites/>', "malformed XML"),
        (_LAUGHS, "document type"),
        (f"<!DOCTYPE testsuites>{report()}", "document type"),
        (f'<!DOCTYPE t SYSTEM "file:///etc/passwd">{report()}', "document type"),
        ("<testsuites/>", "one testsuite"),
        ('<testsuite tests="0"/>', "one testsuite"),
        (report(CASE * 2, tests=2), "names a/test_b.py::test_c twice"),
        (report(CASE, tests=2), "counts 2 tests and holds 1"),
        (report("", tests=1), "counts 1 tests and holds 0"),
        ("<testsuites><testsuite/></testsuites>", "counts no tests"),
        (report(CASE.replace("0.1", "nan")), "number of seconds"),
        (report(CASE.replace("0.1", "-1")), "number of seconds"),
        (report(CASE.replace(' time="0.1"', "")), "number of seconds"),
        (report(properties=PROPERTY * 2), "states the property 'p' twice"),
    ],
)
def test_a_report_that_pytest_never_wrote_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    """The error names the file, without its folder, and what is wrong with it."""
    path = tmp_path / "suite.xml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ReportError, match=message) as refusal:
        read_report(path)
    assert str(refusal.value).startswith("suite.xml: ")
    assert str(tmp_path) not in str(refusal.value)


def test_a_failure_before_a_pass_is_still_a_name_twice(tmp_path: Path) -> None:
    """A second case cannot turn a failure into a pass."""
    bad = CASE.replace("/>", '><failure message="no"/></testcase>')
    path = tmp_path / "suite.xml"
    path.write_text(report(bad + CASE), encoding="utf-8")

    with pytest.raises(ReportError, match="twice"):
        read_report(path)


def test_a_missing_report_is_refused(tmp_path: Path) -> None:
    """A run that was killed before it wrote its report gives no evidence."""
    with pytest.raises(ReportError, match=r"suite\.xml: was not written"):
        read_report(tmp_path / "suite.xml")


def test_an_oversized_report_is_refused(tmp_path: Path) -> None:
    """A report larger than the limit is not parsed, however well formed."""
    path = tmp_path / "suite.xml"
    path.write_text(report() + " " * LARGEST_BYTES, encoding="utf-8")

    with pytest.raises(ReportError, match="larger than 16 MiB"):
        read_report(path)


def numbered(count: int) -> str:
    """A report of so many tests."""
    cases = (CASE.replace("test_c", f"test_{number}") for number in range(count))
    return report("".join(cases), tests=count)


def test_a_report_is_read_up_to_its_bounds(tmp_path: Path) -> None:
    """Number of tests, length of an id and of a property: at the bound read, beyond refused."""
    room = LONGEST_NAME - len(node_id("a.test_b", ""))
    prop = '<property name="p" value="{}"/>'
    path = tmp_path / "suite.xml"
    for text, refused in (
        (numbered(MOST_TESTS), None),
        (numbered(MOST_TESTS + 1), f"more than {MOST_TESTS} tests"),
        (report(CASE.replace("test_c", "t" * room)), None),
        (report(CASE.replace("test_c", "t" * (room + 1))), "names a test in more than 4096"),
        (report(properties=prop.format("v" * LONGEST_NAME)), None),
        (report(properties=prop.format("v" * (LONGEST_NAME + 1))), "a property of more than 4096"),
        (report() + " " * (LARGEST_BYTES - len(report())), None),
        (report() + " " * (LARGEST_BYTES + 1 - len(report())), "larger than 16 MiB"),
    ):
        path.write_text(text, encoding="utf-8")
        if refused is None:
            assert read_report(path).cases
        else:
            with pytest.raises(ReportError, match=refused):
                read_report(path)


def test_classes_within_classes_take_linear_time() -> None:
    """A megabyte of class names took ten seconds when each was put in front of the others."""
    started = time.perf_counter()
    name = node_id("a." + "Test." * 200_000 + "Test", "test_x")

    assert name.startswith("a.py::Test::Test::")
    assert time.perf_counter() - started < 1


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=80)
    | st.text(max_size=30).map(lambda t: report(t).encode("utf-8", "replace"))
)
def test_garbage_raises_the_named_error_only(tmp_path: Path, garbage: bytes) -> None:
    """No bytes make the reader fail in any other way, or pass for a report of one test."""
    path = tmp_path / "suite.xml"
    path.write_bytes(garbage)

    with pytest.raises(ReportError):
        read_report(path)
