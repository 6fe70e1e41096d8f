"""The suite and its negative control leave a report each."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from compat.cell.junit import CaseOutcome, read_report
from compat.checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_INI = "[pytest]\nmarkers =\n    detects_dead: must fail against a dead plug-in\n"

_TESTS = """
import os
import pathlib
import time

import pytest

DEAD = "VALUE_STEER_SUITE_WORKER" in os.environ


def test_of_the_suite_alone():
    assert not DEAD


@pytest.mark.detects_dead
def test_detects():
    assert not DEAD


@pytest.mark.detects_dead
def test_meets_the_other_run():
    pathlib.Path(str(DEAD)).touch()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not pathlib.Path(str(not DEAD)).exists():
        time.sleep(0.02)
    assert pathlib.Path(str(not DEAD)).exists()
"""


def _run(folder: Path, *options: str, patience: float = 60) -> dict[str, dict[str, CaseOutcome]]:
    (folder / "t.ini").write_text(_INI, encoding="utf-8")
    (folder / "test_it.py").write_text(f"PATIENCE = {patience}\n{_TESTS}", encoding="utf-8")
    command = [sys.executable, "-m", "compat.behaviour.both", ".", *options, "test_it.py"]
    command += ["-c", "t.ini", "--rootdir", ".", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, check=True, timeout=240)
    return {
        name: {
            case.partition("::")[2]: result.outcome
            for case, result in read_report(folder / f"{name}.xml").cases.items()
        }
        for name in ("suite", "control")
    }


def test_both_run_side_by_side(tmp_path: Path) -> None:
    """The control is of the tests that detect a dead plug-in, with one; neither waits."""
    ends = _run(tmp_path)

    assert ends["suite"] == {
        "test_of_the_suite_alone": CaseOutcome.PASSED,
        "test_detects": CaseOutcome.PASSED,
        "test_meets_the_other_run": CaseOutcome.PASSED,
    }
    assert ends["control"] == {
        "test_detects": CaseOutcome.FAILED,
        "test_meets_the_other_run": CaseOutcome.PASSED,
    }
    assert "3 passed" in (tmp_path / "suite.log").read_text(encoding="utf-8")


def test_or_one_after_the_other(tmp_path: Path) -> None:
    """In turn the suite is over when the control begins."""
    ends = _run(tmp_path, "--in-turn", patience=0.1)

    assert ends["suite"]["test_meets_the_other_run"] is CaseOutcome.FAILED
    assert ends["control"]["test_meets_the_other_run"] is CaseOutcome.PASSED
