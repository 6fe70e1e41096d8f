"""The registry's schema: it knows the code's records, and no false pass gets through."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat import schema
from compat.registry.store import render
from tests.compat.samples import CELL, FAILED, HASH, PASSED, VOID, rows
from value_steer.registry.model import Cause, Control, Depth, TestCounts, Verdict
from value_steer.registry.rows import SCHEMA_VERSION, Row

if TYPE_CHECKING:
    from enum import Enum

DOCUMENT = json.loads(schema.REGISTRY_SCHEMA.read_text(encoding="utf-8"))
DEFINITIONS = DOCUMENT["$defs"]


def registry(*entries: object) -> dict[str, object]:
    """A registry with these rows as JSON."""
    return {"schema_version": SCHEMA_VERSION, "rows": list(entries)}


@given(st.lists(rows(), max_size=4))
def test_good_rows_are_accepted(good: list[Row]) -> None:
    """What the writer renders from rows without contradictions violates nothing."""
    assert schema.violations(json.loads(render(good))) == []


@pytest.mark.parametrize("record", [Row, *get_type_hints(Row).values()])
def test_the_schema_demands_exactly_the_fields_of_the_records(record: Any) -> None:
    """A field added to a record and not to the schema, or the reverse, is noticed."""
    if not is_dataclass(record):
        return
    names = {field.name for field in fields(record)} | ({"record_id"} if record is Row else set())
    same = [d for d in DEFINITIONS.values() if set(d.get("properties", ())) == names]

    assert len(same) == 1
    assert set(same[0]["required"]) == names - {
        field.name for field in fields(record) if field.default is not MISSING
    }
    assert same[0]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("key", "choices", "extra"),
    [
        ("verdict", Verdict, []),
        ("cause", Cause, [None]),
        ("depth", Depth, []),
        ("negative_control", Control, []),
    ],
)
def test_the_schema_knows_every_word_of_the_code(
    key: str, choices: type[Enum], extra: list[None]
) -> None:
    """The words of an enum and those of the schema are the same."""
    allowed = DEFINITIONS["row"]["properties"][key]["enum"]

    assert sorted(map(str, allowed)) == sorted(map(str, [*extra, *(c.value for c in choices)]))


LIES: dict[str, dict[str, object]] = {
    "a test failed": {"tests": replace(PASSED.tests, failed=1, passed=2)},
    "a test had an error": {"tests": replace(PASSED.tests, errors=1, passed=2)},
    "a test was skipped": {"tests": replace(PASSED.tests, skipped=1, executed=2, passed=2)},
    "all tests were skipped": {"tests": TestCounts(3, 0, 0, 0, 0, 3, (), ())},
    "no test was expected": {"tests": TestCounts(0, 0, 0, 0, 0, 0, (), ())},
    "a sentinel is missing": {"tests": replace(PASSED.tests, sentinels_missing=("eos_fires",))},
    "an unexpected test ran": {"tests": replace(PASSED.tests, unexpected=("t.py::other",))},
    "the control did not fire": {"negative_control": Control.NOT_FIRED},
    "the control did not run": {"negative_control": Control.NOT_RUN},
    "errors were swallowed": {"swallowed_errors": 1},
    "swallowed errors were not counted": {"swallowed_errors": None},
    "it only booted": {"depth": Depth.BOOTS},
    "there was no runner": {"cell": replace(CELL, runner=None)},
    "there is no lock": {"environment": replace(PASSED.environment, lock_sha256=None)},
    "the image is unknown": {"environment": replace(PASSED.environment, isolation="container")},
    "the wheel is unknown": {"upstream": replace(PASSED.upstream, sha256=None)},
    "there is no report": {"report_sha256": None},
    "it has a cause": {"cause": Cause.BOOT},
    "it has a reason": {"reason": "something was odd"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_false_pass_violates_the_schema(lie: str) -> None:
    """A row that claims to have passed although something was missing is refused."""
    row = replace(PASSED, **LIES[lie])  # type: ignore[arg-type]

    assert schema.violations(registry(row.to_json()))


COUNTS = st.integers(0, 3)
PASS_CLAIMS = st.builds(
    replace,
    st.just(PASSED),
    depth=st.sampled_from(Depth),
    cell=st.sampled_from([CELL, replace(CELL, runner=None)]),
    negative_control=st.sampled_from(Control),
    swallowed_errors=st.none() | COUNTS,
    tests=st.builds(
        TestCounts,
        *[COUNTS] * 6,
        *[st.sampled_from([(), ("eos_fires",)])] * 2,
    ),
)


@given(PASS_CLAIMS)
def test_no_false_pass_is_valid(row: Row) -> None:
    """Whatever a row claims, schema and reader together accept only a complete pass."""
    tests = row.tests
    complete = (
        tests.expected == tests.executed == tests.passed > 0
        and tests.failed == tests.errors == tests.skipped == 0
        and tests.sentinels_missing == tests.unexpected == ()
        and row.negative_control is Control.FIRED
        and row.swallowed_errors == 0
        and row.depth in (Depth.FIRES, Depth.EQUAL, Depth.PERFORMS)
        and row.cell.runner is not None
    )
    accepted = not schema.violations(registry(row.to_json())) and not row.contradictions()

    assert accepted == complete


@pytest.mark.parametrize(
    ("row", "place", "value"),
    [
        (PASSED, ("surprise",), 1),
        (PASSED, ("cell", "surprise"), 1),
        (PASSED, ("record_id",), HASH[1:]),
        (PASSED, ("record_id",), HASH + "\n"),
        (PASSED, ("cell", "lane"), "cpu\n"),
        (PASSED, ("recorded_at",), "2020-05-06T07:08:09+00:00"),
        (PASSED, ("upstream", "wheel"), "folder/vllm.whl"),
        (PASSED, ("verdict",), "pass"),
        (PASSED, ("provenance", "kind"), "ci"),
        (FAILED, ("cause",), None),
        (FAILED, ("reason",), None),
        (FAILED, ("reason",), "two\nlines"),
        (FAILED, ("reason",), "see https://example.org/log"),
        (VOID, ("cause",), "boot"),
    ],
)
def test_a_malformed_row_is_refused_with_its_place(
    row: Row, place: tuple[str, ...], value: object
) -> None:
    """Unknown keys, wrong forms and contradictory values are each named by their place."""
    body: dict[str, Any] = row.to_json()
    target = body if len(place) == 1 else body[place[0]]
    target[place[-1]] = value

    (*_, first) = [v for v in schema.violations(registry(body)) if v.startswith("rows[0]")]
    assert place[0] in first
