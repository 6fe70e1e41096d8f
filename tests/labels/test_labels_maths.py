"""Answers are found in responses and compared as mathematics, safely."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.labels.samples import said
from value_steer.features import Response, ResponseKey
from value_steer.labels.answers import final_answer, whole_answer
from value_steer.labels.maths import MathsEquality

if TYPE_CHECKING:
    from decimal import Decimal

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
    ("-3", "the answer is \u22123"),
    ("1500000", "it is 1.5e6"),
    ("0.5", "it is .5"),
    ("2/3", "2 / 3 of it"),
    ("1234567", "1'234'567"),
    ("1234567", r"\boxed{1.234.567}"),
    ("50", r"\boxed{50\%}"),
    ("0.5", "50 %"),
    ("50%", r"\boxed{\frac{1}{2}}"),
    ("5", r"\boxed{5 \text{ cm}}"),
    ("5 cm", r"\boxed{5\,\mathrm{cm}}"),
    ("1, 2", r"\boxed{2,1}"),
    ("[1,2)", r"\boxed{[1, 2)}"),
    (r"\text{Evelyn}", r"\boxed{Evelyn}"),
    ("12:30", r"\boxed{12:30}"),
    (r"\frac{\pi}{2}", r"\boxed{0.5\pi}"),
    (r"\frac{1}{3}", r"\boxed{\frac{2}{6}}"),
]
DIFFERENT = [
    ("42", "43"),
    ("42", "no number at all"),
    ("2", r"\boxed{2 \text{ or } 3}"),
    ("0.1", r"\boxed{0.11}"),
    ("1", r"\boxed{}"),
    ("3", "\u22123"),
    ("5", "it is .5"),
    ("6", "1.5e6"),
    ("567", "1'234'567"),
    ("5", r"\boxed{5 million}"),
    ("(1,2)", r"\boxed{[1,2]}"),
    ("0.3", r"\boxed{\frac{1}{3}}"),
    ("50", "0.5 %"),
]
UNREADABLE = [
    ("1", r"\boxed{\frac{}{}}"),
    ("5", r"\boxed{1,5}"),
    ("3", "between 2 and 3"),
    ("5 m", r"\boxed{500 cm}"),
    ("5 m", r"\boxed{5 cm}"),
    ("2", "2\u03c0"),
    ("30", "12:30"),
    ("the cat", r"\boxed{the dog}"),
    ("12:30", r"\boxed{12:31}"),
]


def test_equality_is_that_of_mathematics() -> None:
    """All at once, in one process."""
    pairs = EQUAL + DIFFERENT + UNREADABLE

    labels = MathsEquality().label([said(text, reference) for reference, text in pairs])

    wanted = [1.0] * len(EQUAL) + [0.0] * len(DIFFERENT) + [None] * len(UNREADABLE)
    wrong = [row for row in zip(pairs, labels, wanted, strict=True) if row[1] != row[2]]
    assert wrong == []


def test_what_takes_for_ever_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """It has no label, and the next comparison works."""
    responses = [said(r"\boxed{9^{9^{9^{9}}}}", "1"), said(r"\boxed{\sqrt{4}}", "2")]
    began = time.monotonic()

    with caplog.at_level(logging.WARNING, logger="value_steer"):
        labels = MathsEquality(seconds=6.0).label(responses)

    assert labels == [None, 1.0]
    assert "not compared" in caplog.text
    assert time.monotonic() - began < 40


def test_no_code_is_run(tmp_path: Path) -> None:
    """An answer is never evaluated as Python."""
    trap = tmp_path / "trap"
    code = f"__import__('pathlib').Path('{trap}').touch()"

    labels = MathsEquality().label([said(rf"\boxed{{{code}}}", "1"), said(code, "1")])

    assert 1.0 not in labels
    assert not trap.exists()


def _reads(text: str) -> str:
    answer = final_answer(text)
    if answer is None:
        return "none"
    if answer.number is not None:
        return f"{answer.number.value} {answer.number.unit}".strip()
    return "expression" if answer.is_expression else "unreadable"


def test_every_answer_is_read_whole_or_not_at_all() -> None:
    """The table beside this file, written by hand: what each answer is, in lowest terms."""
    lines = (Path(__file__).parent / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]

    assert len(rows) >= 743
    assert [row for row in rows if _reads(row["text"]) != row["reads"]] == []


@settings(max_examples=300, deadline=None)
@given(st.text(), st.text(alphabet="0123456789.,'/-+e%^ \\u2212\u00bd{}[]()\\frac$ x", max_size=40))
def test_no_text_raises(prose: str, number: str) -> None:
    """It is an answer, or none."""
    for text in (prose, number, f"{prose} {number}", rf"\boxed{{{number}}}", rf"\boxed{{{prose}}}"):
        final_answer(text)
        whole_answer(text)


@settings(max_examples=300, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15))
def test_a_number_is_read_as_itself(number: Decimal) -> None:
    """However it is written."""
    for text in (f"{number:f}", f"{number:,f}", rf"\boxed{{{number:f}}}", f"it is {number:f} then"):
        answer = final_answer(text)
        assert answer is not None
        assert answer.number is not None
        assert answer.number.value == Fraction(number)


def test_identical_answers_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do plain numbers."""
    monkeypatch.setattr("subprocess.Popen", None)
    responses = [said("42", "42"), said("none", "42"), said("0.5", "1/2"), said("43", "42")]

    assert MathsEquality().label(responses) == [1.0, 0.0, 1.0, 0.0]


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    """Comparisons run in a process that does not run the script again."""
    script = tmp_path / "script.py"
    script.write_text(
        "from value_steer.features import Response, ResponseKey\n"
        "from value_steer.labels.maths import MathsEquality\n"
        "print('once')\n"
        "one = Response(ResponseKey('p'), text=r'\\boxed{\\sqrt{4}}', reference='2')\n"
        "print(MathsEquality().label([one]))\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.stdout.split() == ["once", "[1.0]"], done.stderr


@pytest.mark.parametrize("text", ["So there are 2**10", "It equals 3**4."])
def test_a_power_in_stars_is_no_number(text: str) -> None:
    """Two stars set a word in bold only where they stand at its edge."""
    answer = final_answer(text)

    assert answer is not None
    assert not answer.is_whole


def test_a_power_beyond_printing_is_no_number() -> None:
    """It is left to the comparer of expressions, and ends no run."""
    answer = final_answer(r"\boxed{999999999^{999}}")

    assert answer is not None
    assert answer.number is None


def test_a_response_of_spaces_is_read_at_once() -> None:
    """In time that grows with it and not with its square."""
    start = time.process_time()

    assert final_answer(" " * 300_000 + "5") is not None
    assert time.process_time() - start < 5


FRACTIONS: list[tuple[str, str, float | None]] = [
    (r"\frac{x}{2}", r"\frac{1}{2}x", 1.0),
    (r"\frac{1}{2}x", r"\frac{x}{2}", 1.0),
    (r"\frac{\pi}{2}", r"\frac12\pi", 1.0),
    (r"\frac{\pi}{2}", r"\frac12 \pi", 1.0),
    (r"\frac{1}{2x}", r"\frac{1}{2}x", 0.0),
    (r"\frac{1}{2}(x+1)", r"\frac{x+1}{2}", 1.0),
    (r"\frac{\sqrt{3}}{2}", r"\frac{1}{2}\sqrt{3}", 1.0),
    (r"\frac{2x}{3}", r"\frac23x", 1.0),
    (r"\frac{1}{23}", r"\frac{1}{2}3", 0.0),
    (r"\frac{3}{2}", r"\frac{1}{2}3", 1.0),
    (r"\frac12", r"\sqrt{\frac14}", 1.0),
    (r"1", r"2^\frac12", None),
    (r"\frac{x}{2}", "1/2x", None),  # as some write it; others mean 1/(2x)
    (r"\frac{1}{2x}", "1/2x", None),
    (r"\frac{x}{2}+1", "x/2+1", 1.0),
    (r"\frac{3}{4}", r"\frac{3}{4}\text{ cup}", 1.0),
    ("7/2", r"3\frac12", 1.0),
]


KINDS: list[tuple[str, str, float | None]] = [
    (r"\frac{11}{2}", "1 1/2", 0.0),
    ("11/2", r"1\frac12", 0.0),
    ("12", "1 2", None),
    ("1 2", "12", None),
    ("x = 5", "y = 5", None),
    ("x = 5", "x = 5", 1.0),
    ("5", "y = 5", 1.0),
    ("10", "2x = 10", None),
    ("4", "x^2 = 4", None),
    ("3", "|x| = 3", None),
    ("2", r"\frac{x}{5} = 2", None),
    ("x = 1", "-x = 1", None),
    ("5", "f(2) = 5", 1.0),
    ("5", "3 + 2 = 5", 1.0),
    ("30", "30'", None),
    (r"(-\infty, 3)", "x < 3", None),
    (r"30^\circ", r"\frac{\pi}{6}", None),
    (r"\emptyset", r"\varnothing", 1.0),
    (r"\log x", r"\ln x", None),
    (r"\ln x", r"\ln x", 1.0),
    (r"\frac{0}{0}", r"\frac{1}{0}", None),
    ("5", "5‰", None),
]


def test_answers_of_two_kinds_are_not_compared() -> None:
    """Nor a mixed number with its digits, an equation with its right side, two variables."""
    responses = [said(rf"\boxed{{{answer}}}", reference) for reference, answer, _ in KINDS]

    assert MathsEquality().label(responses) == [label for _, _, label in KINDS]


def test_what_stands_beside_a_fraction_belongs_to_the_answer() -> None:
    """Half of x is not one over 2x; where people differ about it, there is no label."""
    responses = [
        Response(ResponseKey(str(number)), text=rf"\boxed{{{answer}}}", reference=reference)
        for number, (reference, answer, _) in enumerate(FRACTIONS)
    ]

    found = MathsEquality().label(responses)

    assert found == [label for _, _, label in FRACTIONS]
