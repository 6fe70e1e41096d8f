"""The suite many times: a test that fails once is named, and so is a run without a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.errors import ExitCode, InstallError
from tests.compat.cells import FakeIsolation, added

if TYPE_CHECKING:
    import pytest

    from tests.compat.cells import Run

COMMAND = ("flakes", "0.28")
BOOT = "test_boot.py"


def test_a_suite_that_always_passes_is_clean(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """As often as asked for, without its control, and nothing is recorded."""
    fake = FakeIsolation()

    code, registry = run(fake, "--times", "3", wanted=COMMAND)

    assert code == ExitCode.PASSED
    assert sorted(fake.ran) == ["flakes-1", "flakes-2", "flakes-3"]
    assert "3 of 3 runs came to an end" in capsys.readouterr().out
    assert added(registry) == []


def test_what_fails_once_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With how often, and nothing else is."""
    fake = FakeIsolation(flaky=("flakes-2", f"{BOOT}::"))

    code, _ = run(fake, "--times", "4", "--jobs", "1", wanted=COMMAND)

    said = capsys.readouterr().out
    assert code == ExitCode.FAILED
    named = [line for line in said.splitlines() if "did not pass in" in line]
    assert named
    assert all(BOOT in line and "in 1 of 4 runs" in line for line in named)


def test_a_run_without_a_report_is_no_pass(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """It did not end; the others count."""
    fake = FakeIsolation(timeouts=("flakes-1",))

    code, _ = run(fake, "--times", "2", "--jobs", "1", wanted=COMMAND)

    said = capsys.readouterr().out
    assert code == ExitCode.FAILED
    assert "flakes-1: no end after 1 s" in said
    assert "1 of 2 runs came to an end" in said


def test_what_does_not_install_is_one_error(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is run."""
    fake = FakeIsolation(prepare_error=InstallError("no such wheel"))

    code, _ = run(fake, "--times", "2", wanted=COMMAND)

    assert code == ExitCode.FAILED
    assert "no such wheel" in capsys.readouterr().err
    assert fake.ran == []
