"""Reading a JSON object against a table of fields."""

from __future__ import annotations

import pytest

from value_steer.records.fields import (
    FLAG,
    PROBABILITY,
    TEXT,
    Field,
    one_of,
    optional,
    read,
    whole_from,
)

FIELDS = {"name": TEXT, "share": optional(PROBABILITY), "loud": FLAG, "kind": one_of("a", "b")}


def test_good_values_come_back_converted() -> None:
    """A whole number where a probability belongs becomes a float, and null stays null."""
    problems: list[str] = []

    values = read({"name": "x", "share": 1}, FIELDS, "", problems)

    assert values == {"name": "x", "share": 1.0}
    assert isinstance(values["share"], float)
    assert read({"share": None}, FIELDS, "", problems) == {"share": None}
    assert problems == []


def test_every_problem_has_its_place_its_value_and_what_is_allowed() -> None:
    """Unknown, wrong and missing keys are all found in one reading."""
    problems: list[str] = []

    values = read({"nmae": 1, "loud": 1, "kind": ["a"]}, FIELDS, "top.inner", problems, ("name",))

    assert values == {}
    assert problems == [
        "top.inner.nmae: unknown key; did you mean name? allowed: name, share, loud, kind",
        "top.inner.loud = 1: must be true or false",
        'top.inner.kind = [\'a\']: must be "a" or "b"',
        "top.inner.name: missing; it is text",
    ]


@pytest.mark.parametrize("body", [None, [], "text", 3])
def test_what_is_no_object_is_one_problem(body: object) -> None:
    """Nothing is said about keys of a thing that has none."""
    problems: list[str] = []

    assert read(body, FIELDS, "", problems, ("name",)) == {}
    assert problems == [f"the whole = {body!r}: must be an object"]


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        (whole_from(1), 1, True),
        (whole_from(1), 0, False),
        (whole_from(0), True, False),
        (whole_from(0), 2.0, False),
        (optional(TEXT), None, True),
        (TEXT, None, False),
        (PROBABILITY, True, False),
    ],
)
def test_a_field_accepts_only_its_type(field: Field, value: object, accepted: bool) -> None:  # noqa: FBT001
    """Booleans are no numbers, floats are not whole, null is only where it is allowed."""
    assert field.accepts(value) is accepted
