"""Verifiers that compare text."""

from __future__ import annotations

import math

import pytest

from tests.labels.samples import said
from value_steer.features import ResponseKey
from value_steer.labels.errors import LabelError
from value_steer.labels.text import ExactMatch, PrecomputedColumn, RegularExpression


def test_exact_match_looks_past_case_and_white_space() -> None:
    """And past the two forms of an accented letter."""
    responses = [
        said(" Paris\n", "paris"),
        said("caf\u00e9", "cafe\u0301"),
        said("Paris, France", "Paris"),
        said("", "x"),
    ]

    assert ExactMatch().label(responses) == [1.0, 1.0, 0.0, 0.0]


def test_a_response_without_a_reference_is_an_error() -> None:
    """Not a wrong answer."""
    with pytest.raises(LabelError, match="no reference"):
        ExactMatch().label([said("x")])


def test_a_pattern_may_be_wanted_or_not() -> None:
    """Found anywhere in the response."""
    responses = [said("I cannot help"), said("Sure")]

    assert RegularExpression("cannot").label(responses) == [1.0, 0.0]
    assert RegularExpression(r"(?i)CANNOT", good=False).label(responses) == [0.0, 1.0]
    with pytest.raises(LabelError, match="no regular expression"):
        RegularExpression("(")


def test_a_column_by_prompt_and_sample() -> None:
    """The sample is 0 where a row has none."""
    rows = [{"prompt_id": "p0", "score": 1}, {"prompt_id": "p1", "sample": 0, "score": 0.5}]

    column = PrecomputedColumn.from_rows(rows, "score")

    assert column.name == "score"
    assert column.label([said("", number=1), said("")]) == [0.5, 1.0]
    with pytest.raises(LabelError, match="1 responses have no label in score"):
        column.label([said("", number=7), said("")])


@pytest.mark.parametrize(
    "row",
    [
        {"prompt_id": "a"},
        {"score": 1.0},
        {"prompt_id": 3, "score": 1.0},
        {"prompt_id": "a", "sample": "x", "score": 1.0},
        {"prompt_id": "a", "score": "good"},
        {"prompt_id": "a", "score": True},
        {"prompt_id": "a", "sample": True, "score": 1.0},
        {"prompt_id": "a", "score": 1.5},
    ],
)
def test_a_row_that_does_not_fit_is_shown(row: dict[str, object]) -> None:
    """With its number."""
    with pytest.raises(LabelError, match=r"row 0: .*(score|sample|prompt_id)"):
        PrecomputedColumn.from_rows([row], "score")


@pytest.mark.parametrize("label", [-0.1, 1.1, math.nan])
def test_a_label_is_a_probability(label: float) -> None:
    """From 0 to 1."""
    with pytest.raises(LabelError, match="from 0 to 1"):
        PrecomputedColumn({ResponseKey("a"): label})
