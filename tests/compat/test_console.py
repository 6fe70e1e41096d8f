"""Tests of what the person at the terminal sees."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from compat.console import Progress

if TYPE_CHECKING:
    from pathlib import Path


def recorder() -> tuple[Progress, io.StringIO]:
    """A progress that prints plain lines into a buffer, and the buffer."""
    buffer = io.StringIO()
    return Progress(Console(file=buffer, highlight=False, soft_wrap=True)), buffer


def test_a_step_says_its_title_and_how_long_it_took(tmp_path: Path) -> None:
    """A step that ends well prints its title and its time, not its log."""
    progress, buffer = recorder()
    log = tmp_path / "step.log"
    with progress.step("contracts", log):
        log.write_text("noise\n", encoding="utf-8")

    assert "contracts" in buffer.getvalue()
    assert "done in 0 s" in buffer.getvalue()
    assert "noise" not in buffer.getvalue()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_step_that_stops_shows_the_end_of_its_log(
    error: type[BaseException], tmp_path: Path
) -> None:
    """A failure or an interruption shows the last lines of the log and goes on to the caller."""
    progress, buffer = recorder()
    log = tmp_path / "step.log"
    log.write_text("\n".join(f"line {i}" for i in range(100)), encoding="utf-8")
    with pytest.raises(error), progress.step("install", log):
        raise error

    assert "line 99" in buffer.getvalue()
    assert "line 9\n" not in buffer.getvalue()
    assert str(log) in buffer.getvalue()


def test_a_log_with_brackets_and_broken_bytes_is_shown_as_it_is(tmp_path: Path) -> None:
    """Text of a log is never taken for markup, and undecodable bytes do not stop it."""
    progress, buffer = recorder()
    log = tmp_path / "step.log"
    log.write_bytes(b"FAILED test_x[mistral] [/usr/lib] \xff\n")
    progress.show_tail(log)

    assert "FAILED test_x[mistral] [/usr/lib] \ufffd" in buffer.getvalue()


def test_a_log_that_was_never_written_is_no_problem(tmp_path: Path) -> None:
    """A step may stop before it has written a line."""
    progress, buffer = recorder()
    progress.show_tail(tmp_path / "none.log")

    assert buffer.getvalue() == ""


def test_brackets_in_a_title_or_a_note_are_text(tmp_path: Path) -> None:
    """Test parameters and paths in brackets are printed, not taken for markup."""
    progress, buffer = recorder()
    progress.note("no daemon answers [/var/run/docker.sock]")
    with progress.step("test_x[mistral]", tmp_path / "[red]" / "step.log"):
        pass

    assert "[/var/run/docker.sock]" in buffer.getvalue()
    assert "test_x[mistral]" in buffer.getvalue()
