"""What changed in which release, told from snapshots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from value_steer.contracts.history.changes import changes, default_changes
from value_steer.contracts.history.shape import difference
from value_steer.contracts.history.snapshot import ContractState, Snapshot
from value_steer.contracts.report import Status
from value_steer.contracts.runner_default import Rule, RunnerDefault


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("(a, b)", "(a, b, c=…)", "(a, b) → (a, b, c=…)"),
        ("fields a, b", "fields a, c", "fields +c -b"),
        ("fields a, b", "fields b, a", "fields a, b → fields b, a"),
        (f"({'a' * 90})", f"({'a' * 90}, b=…)", "+b=…"),
        (
            f"the function ({'a' * 90}, c)",
            f"the function ({'a' * 90}, b=…)",
            "+b=… -c",
        ),
        (
            f"self.f({'a' * 50}, x=g(1, 2)); self.f(b)",
            f"self.f({'a' * 50}, x=g(1, 2), y=(3, 4)); self.f(b)",
            "+y=(3, 4)",
        ),
        ("a class" * 20, "a property", f"{'a class' * 20} → a property"),
    ],
)
def test_shapes_are_compared_side_by_side_unless_they_are_wide(
    old: str, new: str, told: str
) -> None:
    """What cannot be compared by eye is told as what came and what went."""
    assert difference(old, new) == told


def snapshot(version: str, rule: RunnerDefault, shape: str) -> Snapshot:
    """One row, one rule."""
    state = ContractState("row", Status.OK, "", shape)
    return Snapshot(version, rule, (state,))


V1, V2 = RunnerDefault(Rule.V1), RunnerDefault(Rule.V2)
QWEN = RunnerDefault(Rule.LISTED, ("Qwen3",), unquantized=True)
LLAMA = RunnerDefault(Rule.LISTED, ("Llama", "Mistral", "Qwen3"), unquantized=True)
GONE = RunnerDefault(Rule.LISTED, ("Llama",), unquantized=True)


def test_the_default_runner_is_told_when_its_rule_changes() -> None:
    """A new rule is told whole; of a longer list only what came and went."""
    rules = (V1, V1, QWEN, LLAMA, GONE, V2)
    history = [snapshot(f"0.{i}", rule, "") for i, rule in enumerate(rules)]

    listed = "v2 for listed architectures, if dense and not quantized"
    assert [(c.version, str(c)) for c in default_changes(history)] == [
        ("0.2", f"v1 → {listed} (Qwen3)"),
        ("0.3", f"{listed}: +Llama +Mistral"),
        ("0.4", f"{listed}: -Mistral -Qwen3"),
        ("0.5", f"{listed} (Llama) → v2"),
    ]


def test_changes_are_between_neighbours() -> None:
    """A release that changes nothing is not mentioned."""
    history = [snapshot(v, V1, shape) for v, shape in (("1", "a"), ("2", "a"), ("3", "b"))]

    assert [(c.version, str(c)) for c in changes(history)] == [("3", "a → b")]


def test_a_release_in_which_a_row_begins_changes_nothing() -> None:
    """It is asked of that one and of later ones."""
    begun, later = snapshot("2", V1, "a"), snapshot("3", V1, "b")
    history = [replace(snapshot("1", V1, "a"), states=()), begun, later]

    assert [(c.version, str(c)) for c in changes(history)] == [("3", "a → b")]
