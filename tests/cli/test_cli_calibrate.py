"""``value-steer calibrate``: thresholds into the sidecar, and what they do on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.evaluation.traces import exact, written
from value_steer import cli
from value_steer.trajectories import TrajectoryHeader, write_trajectories
from value_steer.value_probe import HeadCard, Polarity, ValueHead, load_value_head, save_value_head
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A head of P(good)."""
    path = tmp_path / "vhead.safetensors"
    save_value_head(path, ValueHead(4), HeadCard(4, scores=Polarity.P_GOOD))
    return path


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """A file of trajectories."""
    return written(tmp_path / "t.jsonl", exact(300))


def test_a_head_is_calibrated(head: Path, traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its sidecar gains a threshold and curves; what is not known is warned about."""
    code = cli.main(["calibrate", str(traces), "--head", str(head), "--levels", "0.05", "0.25"])

    streams = capsys.readouterr()
    card = load_value_head(head).card
    assert code == 0
    assert card.threshold is not None
    assert card.curve("alpha") is not None
    assert streams.out.splitlines()[0].startswith("300 responses to 300 prompts")
    assert f"default threshold {card.threshold}; written to {head}" in streams.out
    warnings = streams.err.splitlines()
    assert warnings
    assert all(line.startswith("value-steer calibrate: warning: ") for line in warnings)


def test_strict_turns_a_warning_into_a_failure(
    head: Path, traces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the head stays what it was."""
    code = cli.main(["calibrate", str(traces), "--head", str(head), "--strict"])

    assert code == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert load_value_head(head).card.threshold is None


def test_values_of_another_head_are_refused(
    head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their file says whose they are."""
    other = ValueHead(4)
    header = TrajectoryHeader(Polarity.P_GOOD, head=weights_digest(other))
    write_trajectories(tmp_path / "t.jsonl", header, exact(300))

    assert cli.main(["calibrate", str(tmp_path / "t.jsonl"), "--head", str(head)]) == 2
    assert "holds values of another head" in capsys.readouterr().err
    save_value_head(head, other, HeadCard(4, scores=Polarity.P_GOOD))
    assert cli.main(["calibrate", str(tmp_path / "t.jsonl"), "--head", str(head)]) == 0
