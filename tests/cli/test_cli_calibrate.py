"""``value-steer calibrate``: thresholds into the sidecar, and what they do on the screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.evaluation.traces import exact, written
from value_steer import cli
from value_steer.features.scoring import weights_digest
from value_steer.trajectories import TrajectoryHeader, write_trajectories
from value_steer.value_probe import HeadCard, Polarity, ValueHead, load_value_head, save_value_head

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

    assert cli.main(["calibrate", str(tmp_path / "t.jsonl"), "--head", str(head)]) == 1
    assert "holds values of another head" in capsys.readouterr().err
    save_value_head(head, other, HeadCard(4, scores=Polarity.P_GOOD))
    assert cli.main(["calibrate", str(tmp_path / "t.jsonl"), "--head", str(head)]) == 0


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_a_calibration_is_drawn(
    kind: str, head: Path, traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the format of its name, with the same bytes again."""
    first, second = (tmp_path / f"{name}.{kind}" for name in ("first", "second"))
    for path in (first, second):
        assert cli.main(["calibrate", str(traces), "--head", str(head), "--plot", str(path)]) == 0
    assert f"picture: {first}\n" in capsys.readouterr().out

    assert first.read_bytes() == second.read_bytes()
    assert {"svg": b"<svg", "png": b"PNG", "pdf": b"%PDF"}[kind] in first.read_bytes()[:1000]


def test_the_picture_says_what_it_shows(head: Path, traces: Path, tmp_path: Path) -> None:
    """In text that can be read and searched: the bound, both kinds, the default threshold."""
    path = tmp_path / "head.svg"
    assert cli.main(["calibrate", str(traces), "--head", str(head), "--plot", str(path)]) == 0

    text = path.read_text("utf-8")
    for words in ("Responses it acts on", "good, at most (95 %)", "its 95 % interval", "default"):
        assert f">{words}</text>" in text
    assert text.count(">good</text>") == text.count(">bad</text>") == 2


def test_levels_that_never_act_leave_a_gap(head: Path, tmp_path: Path) -> None:
    """Few responses hold no strict bound; the picture is drawn all the same."""
    few, path = written(tmp_path / "few.jsonl", exact(12)), tmp_path / "few.svg"

    assert cli.main(["calibrate", str(few), "--head", str(head), "--plot", str(path)]) == 0
    assert ">default</text>" not in path.read_text("utf-8")


@pytest.mark.parametrize("place", ["head.gif", "absent/head.svg", "folder.svg"])
def test_a_picture_without_a_place_is_refused_first(
    place: str, head: Path, traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and the head stays what it was."""
    (tmp_path / "folder.svg").mkdir()
    code = cli.main(
        ["calibrate", str(traces), "--head", str(head), "--plot", str(tmp_path / place)]
    )

    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert f"--plot {tmp_path / place}: " in err
    assert load_value_head(head).card.threshold is None


def test_without_matplotlib_the_extra_is_named_first(
    head: Path,
    traces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And nothing has been replaced."""
    monkeypatch.delitem(sys.modules, "value_steer.calibration.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot = str(tmp_path / "head.svg")

    assert cli.main(["calibrate", str(traces), "--head", str(head), "--plot", plot]) == 1
    assert 'pip install "value-steer[evaluate]"' in capsys.readouterr().err
    assert load_value_head(head).card.threshold is None
