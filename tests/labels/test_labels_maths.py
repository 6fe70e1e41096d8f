"""Answers are found in responses and compared as mathematics, safely."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("math_verify")

from tests.labels.samples import said
from value_steer.labels.maths import MathsEquality, final_answer

if TYPE_CHECKING:
    from pathlib import Path

EQUAL = [
    ("42", "so 6 * 7 = 42."),
    ("1,234", r"\boxed{1234}"),
    ("1234", "they paid $1,234.00 in all"),
    (r"\frac{1}{2}", r"\boxed{0.5}"),
    ("$1/2$", r"first \boxed{3}, no: $\boxed{\frac{2}{4}}$"),
    (r"x^2-1", r"\boxed{(x-1)(x+1)}"),
    (r"3\sqrt{2}", r"\boxed{\sqrt{18}}"),
    (r"\{1, 2\}", r"\boxed{\{2, 1\}}"),
    ("5", r"\boxed{x = 5}"),
    ("-3", "the answer is -3"),
]
DIFFERENT = [
    ("42", "43"),
    ("42", "no number at all"),
    ("2", r"\boxed{2 \text{ or } 3}"),
    ("0.1", r"\boxed{0.11}"),
    ("1", r"\boxed{}"),
    ("1", r"\boxed{\frac{}{}}"),
]


def test_equality_is_that_of_mathematics() -> None:
    """All at once, in one process."""
    pairs = EQUAL + DIFFERENT

    labels = MathsEquality().label([said(text, reference) for reference, text in pairs])

    assert labels == [1.0] * len(EQUAL) + [0.0] * len(DIFFERENT)


def test_what_takes_for_ever_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """It counts as different, and the next comparison works."""
    responses = [said(r"\boxed{9^{9^{9^{9}}}}", "1"), said(r"\boxed{4/2}", "2")]
    began = time.monotonic()

    with caplog.at_level(logging.WARNING, logger="value_steer"):
        labels = MathsEquality(seconds=6.0).label(responses)

    assert labels == [0.0, 1.0]
    assert "not compared" in caplog.text
    assert time.monotonic() - began < 40


def test_no_code_is_run(tmp_path: Path) -> None:
    """An answer is never evaluated as Python."""
    trap = tmp_path / "trap"
    code = f"__import__('pathlib').Path('{trap}').touch()"

    labels = MathsEquality().label([said(rf"\boxed{{{code}}}", "1"), said(code, "1")])

    assert labels == [0.0, 0.0]
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1} then \boxed{\frac{2}{3}} and 7", r"\frac{2}{3}"),
        (r"\fbox{4}", "4"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        ("between 3 and 1,000,000.5 apples", "1,000,000.5"),
        (r"\boxed{open and 8", "8"),
        ("3/4 of it", "3/4"),
        ("none", None),
        ("", None),
    ],
)
def test_the_answer_is_the_last_box_or_number(text: str, answer: str | None) -> None:
    """With the braces matched."""
    assert final_answer(text) == answer


def test_identical_answers_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that is the same is equal."""
    monkeypatch.setattr("value_steer.labels.maths.ProcessPool", None)

    assert MathsEquality().label([said("42", "42"), said("none", "42")]) == [1.0, 0.0]
