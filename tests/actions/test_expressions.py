"""Texts and conditions with expressions in them, whatever answers those."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.actions import expressions
from tests.actions.expressions import Scope
from tests.actions.records import ActionsError, Outcome
from tests.actions.stand_ins import evaluate

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = Scope({"matrix": {"lane": "cpu", "text": "a }} b"}})


def test_expressions_in_a_text_are_replaced() -> None:
    """Every one of them, each by its own value, and nothing else."""
    texts = {"a": "x-${{ matrix.lane }}-${{matrix.text}}", "b": "plain", "c": "${{ 'd }} e' }}"}

    filled = expressions.fill(texts, MATRIX, evaluate)

    assert filled == {"a": "x-cpu-a }} b", "b": "plain", "c": "d }} e"}


def test_a_text_that_is_one_expression_keeps_its_value() -> None:
    """A matrix is an object; text around it would make a text of it."""
    assert expressions.value("${{ matrix }}", MATRIX, evaluate) == MATRIX.contexts["matrix"]
    with pytest.raises(ActionsError, match="must be one expression"):
        expressions.value("a ${{ matrix }}", MATRIX, evaluate)


@pytest.mark.parametrize("text", ["always()", "${{ always() }}", " ${{always()}}\n"])
def test_a_condition_is_an_expression_with_or_without_braces(text: str) -> None:
    """Both mean the same."""
    assert expressions.condition(text).strip() == "always()"


def test_a_condition_with_text_around_it_is_refused() -> None:
    """GitHub takes it for a text, which is always true; nobody means that."""
    with pytest.raises(ActionsError, match="would always hold"):
        expressions.condition("${{ failure() }} && true")


@pytest.mark.parametrize(
    ("text", "status", "holds"),
    [
        ("", "success", True),
        ("", "failure", False),
        ("", "skipped", False),
        ("matrix.lane == 'cpu'", "success", True),
        ("matrix.lane == 'cpu'", "failure", False),
        ("matrix.lane == 'cuda'", "success", False),
        ("always()", "failure", True),
        ("failure()", "success", False),
        ("failure()", "failure", True),
        ("${{ !cancelled() && matrix.lane == 'cpu' }}", "skipped", True),
    ],
)
def test_a_condition_wants_a_success_unless_it_asks(
    text: str, status: Outcome, *, holds: bool
) -> None:
    """A call of a status function takes the place of the unspoken ``success()``."""
    assert expressions.holds(text, Scope(MATRIX.contexts, status), evaluate) is holds


def test_an_evaluator_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """With the command that installs it."""
    for folder in (None, tmp_path):
        with pytest.raises(ActionsError, match="nox -s actions"):
            expressions.node(folder)


def test_a_missing_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluator is of no use without it."""
    (tmp_path / expressions.PACKAGE).mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ActionsError, match=r"Node\.js"):
        expressions.node(tmp_path)
