"""How far the vLLM that runs can be trusted, computed from the registry."""

from __future__ import annotations

import ast
import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.registry import store
from tests.compat.samples import CELL, HASH, PASSED, VOID, failed, passed, rows
from value_steer import versions
from value_steer.errors import RegistryError, SettingsError, UnvalidatedError
from value_steer.registry.model import Cause, Cell, Control, Depth, StaticCheck, TestCounts, Verdict
from value_steer.versions import Standing, assess, current, decide, engine_digest

if TYPE_CHECKING:
    from value_steer.registry.rows import Row

PACKAGE = Path(versions.__file__).parent
EARLIER, LATER = "2019-01-01T00:00:00Z", "2021-01-01T00:00:00Z"
V2 = replace(CELL, runner="v2")
GPU = replace(CELL, lane="cuda-sm80")
ANY_RUNNER = replace(CELL, runner=None)
NO_INSTALL = failed(cell=ANY_RUNNER, cause=Cause.INSTALL, recorded_at=LATER)
WITHDRAWN = replace(VOID, verdict=Verdict.WITHDRAWN, reason="yanked", recorded_at=EARLIER)
IN_SOURCE = StaticCheck("0.28.0", "v1", "abstain", 60, (), "vllm.whl", HASH, HASH)
OTHER_CODE = replace(PASSED.package, engine_digest="cd" * 32)


@pytest.mark.parametrize(
    ("history", "standing", "words"),
    [
        ([PASSED], Standing.VALIDATED, "2020-05-06"),
        ([], Standing.UNKNOWN, "never tested"),
        ([VOID], Standing.UNKNOWN, "never tested"),
        ([PASSED, replace(VOID, recorded_at=LATER)], Standing.VALIDATED, "validated"),
        ([failed(recorded_at=EARLIER), PASSED], Standing.VALIDATED, "validated"),
        ([PASSED, failed(recorded_at=LATER)], Standing.KNOWN_BAD, "1 of 3 tests failed"),
        ([PASSED, failed()], Standing.KNOWN_BAD, "behaviour"),
        ([PASSED, NO_INSTALL], Standing.KNOWN_BAD, "install"),
        ([WITHDRAWN, PASSED], Standing.KNOWN_BAD, "withdrawn"),
        ([passed(package=OTHER_CODE)], Standing.STALE, "other code"),
        ([PASSED, passed(package=OTHER_CODE, recorded_at=LATER)], Standing.STALE, "other code"),
        ([passed(cell=GPU)], Standing.VALIDATED_ELSEWHERE, "cuda-sm80 with runner v1"),
        ([passed(cell=V2)], Standing.VALIDATED_ELSEWHERE, "cpu with runner v2"),
        ([passed(cell=V2, package=OTHER_CODE)], Standing.UNKNOWN, "never tested"),
        ([failed(cell=GPU)], Standing.UNKNOWN, "never tested"),
        ([passed(cell=replace(CELL, vllm="0.28.1"))], Standing.UNKNOWN, "never tested"),
        ([passed(cell=replace(CELL, mode="vfd"))], Standing.UNKNOWN, "never tested"),
    ],
)
def test_the_standing_follows_from_the_history(
    history: list[Row], standing: Standing, words: str
) -> None:
    """The newest row with a verdict on the exact cell holds, if it is about the same code."""
    assessment = assess(CELL, history, HASH)

    assert assessment.standing is standing
    assert words in assessment.message
    assert "\n" not in assessment.message
    settled = standing is Standing.VALIDATED
    assert settled or "`nox -s compat-0.28`" in assessment.message


@pytest.mark.parametrize(
    ("history", "check", "standing"),
    [
        ([], IN_SOURCE, Standing.CONTRACTS_ONLY),
        ([failed(cell=GPU)], IN_SOURCE, Standing.CONTRACTS_ONLY),
        ([], replace(IN_SOURCE, broken=("sampler",)), Standing.UNKNOWN),
        ([], replace(IN_SOURCE, runner="v2"), Standing.UNKNOWN),
        ([failed()], IN_SOURCE, Standing.KNOWN_BAD),
        ([passed(cell=GPU)], IN_SOURCE, Standing.VALIDATED_ELSEWHERE),
    ],
)
def test_a_source_counts_only_where_nothing_was_run(
    history: list[Row], check: StaticCheck, standing: Standing
) -> None:
    """And it is told apart from evidence."""
    found = assess(CELL, history, HASH, (check,))

    assert found.standing is standing
    assert ("never run" in found.message) == (standing is Standing.CONTRACTS_ONLY)


@pytest.mark.parametrize("seconds", [float(n) for n in range(8)])
def test_of_two_rows_of_one_second_the_worse_holds(seconds: float) -> None:
    """A tie is not broken in favour of a pass."""
    worse = failed(seconds=seconds)

    assert decide([worse, PASSED], CELL) == decide([PASSED, worse], CELL) == worse


@given(st.lists(rows(), max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(history: list[Row], shuffler: object) -> None:
    """A history says the same however it was merged."""
    shuffled = shuffler.sample(history, len(history))  # type: ignore[attr-defined]

    assert current(shuffled) == current(history)


@given(st.lists(rows(), max_size=6))
def test_a_run_without_a_verdict_replaces_none(history: list[Row]) -> None:
    """Void runs change nothing of what holds."""
    deciding = [row for row in history if row.verdict in versions.DECIDING]

    assert current(history) == current(deciding)
    assert all(decide(history, cell) == row for cell, row in current(history).items())


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry that is read in this test: one passed row, of the code that runs."""
    monkeypatch.delenv(versions.ENVIRONMENT_VARIABLE, raising=False)
    path = tmp_path / "validated_versions.json"
    own = replace(PASSED.package, engine_digest=engine_digest())
    path.write_text(store.render([passed(package=own)]), encoding="utf-8")
    monkeypatch.setattr(versions, "registry_path", lambda: path)
    return path


@pytest.mark.usefixtures("registry")
def test_a_validated_version_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The build of a version does not count, and evidence is enough for the strict."""
    with caplog.at_level(logging.INFO, "value_steer"):
        found = versions.warn_unless_validated("0.28.0+cpu", "cpu", "v1", "abstain", strict=True)

    assert found is not None
    assert found.standing is Standing.VALIDATED
    assert [entry.levelname for entry in caplog.records] == ["INFO"]


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("version", ["0.28.0.post1", "0.28.0rc1", "0.28.0.1", "0.28", "dev"])
def test_other_versions_are_warned_about(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """A post release, a candidate and a fourth part are other versions; 0.28 is the same one."""
    versions.warn_unless_validated(version, "cpu", "v1", "abstain")

    (entry,) = caplog.records
    assert (entry.name, entry.levelname) == ("value_steer", "WARNING")
    assert version in entry.message


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("value", "strict"), [("error", False), ("warn", True), ("ignore", True)])
def test_an_operator_can_demand_evidence(
    monkeypatch: pytest.MonkeyPatch, value: str, *, strict: bool
) -> None:
    """By the environment or by the configuration, whose word is the last."""
    monkeypatch.setenv(versions.ENVIRONMENT_VARIABLE, value)

    with pytest.raises(UnvalidatedError, match=r"0\.29\.0 .*`nox -s compat-0\.29`"):
        versions.warn_unless_validated("0.29.0", "cpu", "v1", "abstain", strict=strict)


def test_an_operator_can_look_away(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said, and the registry is not even read."""
    registry.unlink()
    monkeypatch.setenv(versions.ENVIRONMENT_VARIABLE, "ignore")

    assert versions.warn_unless_validated("0.29.0", "cpu", "v1", "abstain") is None


@pytest.mark.usefixtures("registry")
def test_an_unknown_wish_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in the environment variable does not switch the check off."""
    monkeypatch.setenv(versions.ENVIRONMENT_VARIABLE, "Error")

    with pytest.raises(SettingsError, match=r"VALUE_STEER_UNVALIDATED = 'Error'.*warn, error"):
        versions.warn_unless_validated("0.28.0", "cpu", "v1", "abstain")


@pytest.mark.parametrize(
    ("row", "doubt"),
    [
        (passed(swallowed_errors=3), "swallowed errors"),
        (passed(negative_control=Control.NOT_RUN), "a negative control that did not fire"),
        (passed(depth=Depth.BOOTS), "depth boots"),
        (passed(cell=ANY_RUNNER), "no runner"),
        (passed(tests=replace(PASSED.tests, expected=4)), "tests that did not pass"),
        (passed(tests=replace(PASSED.tests, expected=4, skipped=1)), "tests that did not pass"),
        (passed(tests=TestCounts(0, 0, 0, 0, 0, 0, (), ())), "no test"),
        (passed(tests=replace(PASSED.tests, sentinels_missing=("eos",))), "missing sentinels"),
        (passed(tests=replace(PASSED.tests, unexpected=("t",))), "unexpected tests"),
    ],
)
def test_a_false_pass_validates_nothing(registry: Path, row: Row, doubt: str) -> None:
    """A row that contradicts itself is an error also where no schema is at hand."""
    body = {"schema_version": 1, "rows": [row.to_json()]}
    registry.write_text(json.dumps(body), encoding="utf-8")

    with pytest.raises(RegistryError, match=f"passed with {doubt}"):
        versions.warn_unless_validated("0.28.0", "cpu", "v1", "abstain")


def test_the_registry_is_found_in_a_wheel_and_in_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packaged file comes first; without either there is an error."""
    package = tmp_path / "value_steer"
    package.mkdir()
    monkeypatch.setattr(versions, "_PACKAGE", package)
    with pytest.raises(RegistryError, match="reinstall"):
        versions.registry_path()

    for folder in (tmp_path, package):
        (folder / "validated_versions.json").touch()
        assert versions.registry_path().parent == folder


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package to change."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / "value_steer", ignore=ignored))


def test_the_digest_does_not_depend_on_place_or_line_ends(copied: Path) -> None:
    """A checkout with other line ends, compiled files and all, has the same digest."""
    for path in copied.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (copied / "engine" / "hooks.pyc").touch()

    assert engine_digest(copied) == engine_digest()


@pytest.mark.parametrize("name", ["policy.py", "engine/hooks.py", "value_probe/head.py"])
def test_the_digest_changes_with_what_decides(copied: Path, name: str) -> None:
    """A changed, added or renamed module makes former evidence stale."""
    digests = {engine_digest(copied)}
    path = copied / name
    path.write_bytes(path.read_bytes() + b"ADDED = 1\n")
    digests.add(engine_digest(copied))
    (copied / "engine" / "added.py").touch()
    digests.add(engine_digest(copied))
    (copied / "engine" / "added.py").rename(copied / "engine" / "renamed.py")
    digests.add(engine_digest(copied))

    assert len(digests) == 4


def test_the_digest_of_a_wheel_is_taken_from_its_build(copied: Path) -> None:
    """Without parsing a module, as long as every byte is the one that was built."""
    line = versions.digest_line(copied)
    (copied / versions.DIGEST_FILE).write_text(line, encoding="ascii")
    assert engine_digest(copied) == engine_digest()

    built = "b" * 64
    (copied / versions.DIGEST_FILE).write_text(line.replace(engine_digest(), built))
    assert engine_digest(copied) == built
    hooks = copied / "engine" / "hooks.py"
    hooks.write_bytes(hooks.read_bytes() + b"ADDED = 1\n")
    assert engine_digest(copied) not in {engine_digest(), built}


@pytest.mark.parametrize("kept", [0, 1, 64, 65, 100, 128])
@pytest.mark.parametrize("more", [b"", b"\xff", b"g"])
def test_a_damaged_digest_of_a_build_is_computed_anew(kept: int, more: bytes, copied: Path) -> None:
    """It is a short cut, and no more."""
    content = versions.digest_line(copied).encode()[:kept] + more
    (copied / versions.DIGEST_FILE).write_bytes(content)

    assert engine_digest(copied) == engine_digest()


def test_the_digest_stays_with_what_does_not_decide(copied: Path) -> None:
    """The registry itself, the contract checks and comments are no part of it."""
    (copied / "validated_versions.json").touch()
    hooks = copied / "engine" / "hooks.py"
    hooks.write_bytes(hooks.read_bytes() + b"# The end.\n")
    (copied / "contracts" / "added.py").touch()

    assert engine_digest(copied) == engine_digest()


@pytest.mark.parametrize("name", ["policy.py", "engine"])
def test_an_incomplete_package_has_no_digest(copied: Path, name: str) -> None:
    """A folder that lacks a part is not taken for another engine."""
    path = copied / name
    path.rename(copied / "elsewhere")

    with pytest.raises(RegistryError, match=name):
        engine_digest(copied)


def test_the_digest_covers_what_the_engine_imports() -> None:
    """A module that steering code imports decides too, unless it is known not to."""
    covered = {*versions._DECIDING_FILES, *versions._DECIDING_FOLDERS}
    # records/files.py writes the file of a head, which no engine does, and tries a folder;
    # calibration/prompts.py names the list of prompts beside it.
    harmless = {
        "errors.py",
        "records/files.py",
        "calibration/prompts.py",
        "versions.py",
        "__init__.py",
    }
    paths = [PACKAGE / name for name in versions._DECIDING_FILES]
    paths += [p for name in versions._DECIDING_FOLDERS for p in (PACKAGE / name).rglob("*.py")]
    imported = {module for path in paths for module in _own_imports(path)}

    assert imported <= covered | harmless


def _own_imports(path: Path) -> set[str]:
    """The folders that decide, and other modules of value-steer, that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("value_steer"):
            parts = (node.module or "").split(".")[1:] or [node.names[0].name]
            whole = parts[0] in versions._DECIDING_FOLDERS
            names.add(parts[0] if whole else f"{'/'.join(parts)}.py")
    return names


def test_neither_torch_nor_vllm_is_needed() -> None:
    """The registry can be asked on a machine that has neither."""
    code = "import value_steer.versions, sys; print({'torch', 'vllm'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )

    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("version", ["0.1.dev1", "0.28.1.dev3"])
def test_no_session_is_advised_for_a_checkout(version: str) -> None:
    """There is none of that name, or it runs another vLLM."""
    found = versions.assess(Cell(version, "cpu", "v1", "abstain"), [], HASH)

    assert "nox" not in found.message
    assert "`value-steer-compat`" in found.message
