"""The command: what it refuses in one line, and what it lists."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.actions.__main__ import VARIABLE, main
from tests.actions.expressions import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compat-matrx"], "no such workflow; there are ci, "),
        (["ci", "--jobs", "chck"], "chck: no such job"),
        (["faults", "--cells", "0.28.0"], "none of faults, soak has a matrix"),
        (["ci", "--may-fail", "gate"], "--may-fail gate: not among the jobs"),
        (["ci"], "`nox -s actions -- WORKFLOW` installs it"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_done(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line that says what there is, or what to do."""
    monkeypatch.delenv(VARIABLE, raising=False)

    assert main([*words, "--out", str(tmp_path / "out")]) == 2

    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what an earlier run has left is."""
    (tmp_path / PACKAGE).mkdir(parents=True)
    (tmp_path / "node").touch(mode=0o755)
    (tmp_path / "ci").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert main(["ci", "--ref", "refs/heads/main", "--out", str(tmp_path)]) == 2
    assert "name another folder with --out" in capsys.readouterr().err
    assert (tmp_path / "ci").is_dir()


def test_without_a_workflow_it_lists_what_only_github_can_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of every workflow."""
    assert main([]) == 0

    told = capsys.readouterr().out
    assert "Only GitHub: nothing" in told
    assert "pypa/gh-action-pypi-publish" in told
