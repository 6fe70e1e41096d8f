"""What someone who watches sees."""

from __future__ import annotations

import pytest

from tests.training.material import HIDDEN, separable
from value_steer.train_probe import train_probe
from value_steer.training import TrainingOptions, progress
from value_steer.value_probe import ValueHead


def shown(capsys: pytest.CaptureFixture[str], *, bar: bool = True) -> str:
    """What training writes to standard error; to standard output it writes nothing."""
    options = TrainingOptions(epochs=2)
    train_probe(None, ValueHead(HIDDEN), separable(32), options=options, progress=bar)
    written = capsys.readouterr()
    assert written.out == ""
    return written.err


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error passes for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.usefixtures("_terminal")
def test_a_terminal_shows_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """With the steps and the loss."""
    written = shown(capsys)

    assert "training" in written
    assert "loss" in written
    assert "4/4" in written


@pytest.mark.usefixtures("_terminal")
def test_the_bar_can_be_turned_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the caller, and by not having ``rich``."""
    assert shown(capsys, bar=False) == ""

    monkeypatch.setattr(progress, "find_spec", lambda _: None)
    assert shown(capsys) == ""


def test_elsewhere_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A log file has no use for a bar."""
    assert shown(capsys) == ""
