"""When a cell's evidence is reused in place of running it, and when it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from compat import checkout
from compat.errors import ExitCode
from tests.compat.cells import FakeIsolation, added
from value_steer.registry.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.compat.cells import Run


def test_good_evidence_is_not_collected_twice(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What passed is reused, in one line per mode with its date; --force runs it all the same."""
    run(FakeIsolation())
    again, forced = FakeIsolation(), FakeIsolation()
    before = capsys.readouterr().out

    code, registry = run(again, "--lane", "cpu")
    text = capsys.readouterr().out
    run(forced, "--force")

    assert "reused" not in before
    assert (code, again.ran) == (ExitCode.PASSED, [])
    assert text.count("reused; --force runs it again") == 2
    assert added(registry)[0].recorded_at[:10] in text
    assert forced.ran


def test_a_job_that_reuses_evidence_hands_it_in(run: Run, tmp_path: Path) -> None:
    """The fragment of a job that had nothing to run holds the rows that answer for it."""
    _, registry = run(FakeIsolation())
    fragment = tmp_path / "fragment.json"

    run(FakeIsolation(), "--fragment", str(fragment))

    assert set(read_rows(fragment)) == set(added(registry))


def test_a_job_after_a_void_run_is_run(run: Run, tmp_path: Path) -> None:
    """The gate asks for the newest run of a job, so an older pass is no answer to it."""
    run(FakeIsolation())
    run(FakeIsolation(control_passes=True), "--force")
    again = FakeIsolation()

    run(again, "--fragment", str(tmp_path / "fragment.json"))

    assert again.ran


def test_a_failure_is_run_again(run: Run) -> None:
    """Only a pass is reused; a later failure with the same content takes that away."""
    run(FakeIsolation())
    run(FakeIsolation(failing=("eos_fires",)), "--force")
    again = FakeIsolation()

    run(again, "--lane", "cpu")

    assert again.ran


def test_what_changed_since_is_said(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Evidence of another suite is not reused, and the reason stands where the date does."""
    run(FakeIsolation())
    other = replace(checkout.identify("cpu"), suite_digest="f" * 64)
    again = FakeIsolation()

    run(again, "--lane", "cpu", identify=lambda _: other)

    assert again.ran
    assert "not reused: the suite changed since" in " ".join(capsys.readouterr().out.split())
