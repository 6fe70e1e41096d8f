"""Which evidence still speaks for a cell."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compat import git, plan, policy, product, reuse
from compat.attempt import Cell as Wanted
from compat.evidence import Verdict
from compat.isolate.protocol import Prepared
from tests.compat.samples import CELL, FAILED, HASH, PASSED

if TYPE_CHECKING:
    from compat.policy import Policy
    from value_steer.registry import Row

CANDIDATE = plan.select("0.28.0", plan.load())
WANTED = Wanted(CANDIDATE, "cpu", "default", Path("out"))
NOW = replace(product.checkout("cpu"), contracts_digest=HASH)
INPUTS = reuse.Inputs(WANTED, "venv", HASH, HASH, NOW)
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
    inputs = replace(INPUTS, cell=replace(WANTED, runner="v1"))

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


OLD = replace(
    GOOD,
    package=replace(NOW, contracts_digest=None, commit="a" * 40, dirty=False),
    environment=replace(ENVIRONMENT, setup_sha256=None, torch=f"{CANDIDATE.torch}+cpu"),
)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (OLD, ()),
        (replace(OLD, package=replace(OLD.package, dirty=True)), ("the contracts",)),
        (replace(OLD, package=replace(OLD.package, commit="b" * 40)), ("the contracts",)),
        (replace(OLD, environment=replace(OLD.environment, torch="2.0.0")), ("the setup",)),
        (replace(OLD, environment=replace(OLD.environment, isolation="x")), ("the setup",)),
        (replace(OLD, environment=replace(OLD.environment, lock_sha256="0" * 64)), ("the setup",)),
    ],
)
def test_a_row_without_the_later_fields_is_judged_by_what_it_has(
    row: Row, told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contracts come from the row's commit, the setup from what came of it."""
    known = {"a" * 40: HASH}
    monkeypatch.setattr(reuse, "_contracts_at", known.get)

    assert reuse.differences(row, INPUTS) == told


def test_an_older_row_does_not_say_which_runner_a_gpu_was_asked_for() -> None:
    """On a CPU the lane says it; elsewhere the host's own choice may have been another."""
    cell = replace(CELL, lane="cuda-sm90")
    row = replace(OLD, cell=cell, package=NOW)
    inputs = replace(INPUTS, cell=replace(WANTED, lane="cuda-sm90"))

    assert "the setup" in reuse.differences(row, inputs)


def test_the_setup_is_what_is_installed_where_and_for_which_runner() -> None:
    """Another isolation, runner, release or extra is another setup."""
    rules = policy.load()
    digests = {
        reuse.setup_digest(cell, isolation, chosen) for cell, isolation, chosen in _setups(rules)
    }

    assert len(digests) == 5
    assert reuse.setup_digest(WANTED, "venv", rules) in digests


def _setups(rules: Policy) -> list[tuple[Wanted, str, Policy]]:
    older = replace(WANTED, candidate=plan.select("0.27.1", plan.load()))
    return [
        (WANTED, "venv", rules),
        (WANTED, "container", rules),
        (replace(WANTED, runner="v1"), "venv", rules),
        (older, "venv", rules),
        (WANTED, "venv", replace(rules, extras=(*rules.extras, "more"))),
    ]


def test_a_kept_lock_is_hashed_as_what_was_installed_is(tmp_path: Path) -> None:
    """Comments aside, line by line; without a lock any will do."""
    lines = ("a==1 --hash=sha256:00", "b==2 --hash=sha256:11")
    path = tmp_path / "lock.txt"
    path.write_text("# how it came to be\n" + "".join(f"{x}\n" for x in lines), encoding="utf-8")
    prepared = Prepared("venv", None, lines, "w.whl", HASH, 1.0, reused=False)

    assert reuse.kept_lock(path) == prepared.lock_sha256
    assert reuse.kept_lock(tmp_path / "none.txt") is None
    unlocked = replace(OLD, package=NOW, environment=replace(OLD.environment, lock_sha256=None))
    assert reuse.differences(unlocked, replace(INPUTS, lock_sha256=None)) == ()


def test_files_are_read_out_of_a_commit(tmp_path: Path) -> None:
    """What the folder held then, not what it holds now; an unknown commit is not known."""
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.py").write_text("then", encoding="utf-8")
    person = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "."), (*person, "commit", "-qm", "then")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)  # noqa: S607
    commit = git.text(tmp_path, "rev-parse", "HEAD")
    (folder / "a.py").write_text("now", encoding="utf-8")

    assert commit is not None
    assert git.files_at(tmp_path, commit, Path("rows")) == {"a.py": b"then"}
    assert git.files_at(tmp_path, "f" * 40, Path("rows")) is None
    assert git.files_at(folder, commit, Path("rows")) is None
