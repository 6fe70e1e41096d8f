"""Which evidence still speaks for a cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compat import checkout
from compat.cell import reuse
from compat.cell.target import RunTarget
from compat.releases import policy
from compat.releases.candidates import load_candidates, select_release
from tests.compat.cells import FakeIsolation
from tests.compat.samples import CELL, FAILED, HASH, PASSED
from value_steer.registry.model import Verdict

if TYPE_CHECKING:
    from value_steer.registry.rows import Row

CANDIDATE = select_release("0.28.0", load_candidates())
TARGET = RunTarget(
    CANDIDATE, "cpu", "default", Path("out"), Path(), FakeIsolation(), "a test", policy.load()
)
NOW = replace(checkout.identify("cpu"), contracts_digest=HASH)
INPUTS = reuse.Inputs(TARGET, HASH, NOW)
UPSTREAM = replace(PASSED.upstream, sha256=CANDIDATE.build("cpu").wheels[0].sha256)
ENVIRONMENT = replace(PASSED.environment, setup_sha256=HASH)
GOOD = replace(PASSED, package=NOW, upstream=UPSTREAM, environment=ENVIRONMENT)


def with_modes(*rows: Row) -> list[Row]:
    """The rows, and their like of the other mode."""
    other = [replace(row, cell=replace(row.cell, mode="vfd")) for row in rows]
    return [*rows, *other]


def test_the_same_content_is_reused() -> None:
    """One row per mode, of the cell that is wanted."""
    found = reuse.find(INPUTS, with_modes(GOOD))

    assert [row.cell.mode for row in found] == ["abstain", "vfd"]


@pytest.mark.parametrize(
    ("part", "changes", "told"),
    [
        ("package", {"engine_digest": "0" * 64}, "the engine's code"),
        ("package", {"suite_digest": "0" * 64}, "the suite"),
        ("package", {"contracts_digest": "0" * 64}, "the contracts"),
        ("upstream", {"sha256": "0" * 64}, "vLLM's wheel"),
        ("environment", {"setup_sha256": "0" * 64}, "the setup"),
    ],
)
def test_whatever_decides_a_run_must_be_the_same(
    part: str, changes: dict[str, Any], told: str
) -> None:
    """Each input alone makes evidence outdated, and is named."""
    row = replace(GOOD, **{part: replace(getattr(GOOD, part), **changes)})

    assert reuse.differences(row, INPUTS) == (told,)
    assert reuse.find(INPUTS, with_modes(row)) == ()
    assert list(reuse.outdated(INPUTS, [row])) == [(row, (told,))]


@pytest.mark.parametrize(
    "other",
    [
        replace(CELL, vllm="0.28.1"),
        replace(CELL, lane="cpu-interpreted"),
        replace(CELL, runner="v2"),
    ],
)
def test_evidence_of_another_cell_does_not_count(other: Any) -> None:
    """A release, a lane or a runner that was not asked for is no answer."""
    inputs = replace(INPUTS, target=replace(TARGET, runner="v1"))

    assert reuse.find(inputs, with_modes(replace(GOOD, cell=other))) == ()


def test_one_mode_alone_is_not_enough() -> None:
    """A run covers every mode, so it is run unless every mode has its row."""
    assert reuse.find(INPUTS, [GOOD]) == ()


def failure(recorded_at: str, verdict: Verdict = Verdict.FAILED) -> Row:
    """A row like the good one that did not pass."""
    cause = FAILED.cause if verdict is Verdict.FAILED else None
    return replace(GOOD, recorded_at=recorded_at, verdict=verdict, cause=cause, reason="it did not")


@pytest.mark.parametrize(
    ("bad", "reused"),
    [
        (failure("2020-05-06T07:08:08Z"), True),
        (failure("2020-05-06T07:08:10Z"), False),
        (failure("2020-05-06T07:08:10Z", Verdict.NO_EVIDENCE), True),
        (failure("2020-05-06T07:08:08Z", Verdict.WITHDRAWN), False),
    ],
    ids=["mended", "broke", "void", "withdrawn"],
)
def test_the_holding_row_must_have_passed(bad: Row, reused: bool) -> None:  # noqa: FBT001
    """A later failure takes a pass away, and so does a withdrawal; what says nothing does not."""
    rows = with_modes(GOOD, bad)

    assert bool(reuse.find(INPUTS, rows)) is reused


def test_a_row_that_does_not_say_what_was_asked_for_is_run_again() -> None:
    """Rows of before those fields have no contracts and no setup to compare with."""
    package = replace(NOW, contracts_digest=None)
    row = replace(GOOD, package=package, environment=replace(ENVIRONMENT, setup_sha256=None))

    assert reuse.differences(row, INPUTS) == ("the contracts", "the setup")


def test_the_setup_is_what_is_installed_where_and_for_which_runner() -> None:
    """Another isolation, Python, runner, release or extra is another setup."""
    rules = TARGET.rules
    others = (
        replace(TARGET, isolation=FakeIsolation(kind="container")),
        replace(TARGET, isolation=FakeIsolation(python="3.12")),
        replace(TARGET, runner="v1"),
        replace(TARGET, candidate=select_release("0.27.1", load_candidates())),
        replace(TARGET, rules=replace(rules, extras=(*rules.extras, "more"))),
    )

    assert len({reuse.setup_digest(target) for target in (TARGET, *others)}) == 6
    assert reuse.setup_digest(replace(TARGET, out=Path("elsewhere"))) == reuse.setup_digest(TARGET)
