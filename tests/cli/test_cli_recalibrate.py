"""``value-steer recalibrate``: the drift on the screen, and a new calibration in the sidecar."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.recalibration.recordings import many, saved, write
from value_steer import cli
from value_steer.calibration import CalibrationOptions, calibrate_file
from value_steer.trajectories import read_trajectories
from value_steer.value_probe import load_value_head

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::value_steer.errors.CalibrationWarning")


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A head that was calibrated on traffic of its time."""
    path = saved(tmp_path / "vhead.safetensors")
    _recorded(path, 400, seed=1)
    assert _run(tmp_path / "traffic", path, *_labelled(tmp_path), "--write") == 0
    return path


def _recorded(head: Path, count: int, **changes: Any) -> Path:
    folder = head.parent / "traffic"
    heads, answers, labels = many(head, count, **changes)
    write(folder / "a.jsonl", heads, answers)
    rows = [json.dumps({"id": name, "label": label}) for name, label in labels.items()]
    (head.parent / "labels.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


def _labelled(folder: Path) -> list[str]:
    return ["--labels", str(folder / "labels.jsonl"), "--out", str(folder / "t.jsonl")]


def _run(folder: Path, head: Path, *more: str) -> int:
    return int(cli.main(["recalibrate", str(folder), "--head", str(head), *more]))


def test_traffic_that_is_as_it_was_has_not_drifted(
    head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 0, whether drift is a failure or not; nothing is replaced."""
    folder, before = _recorded(head, 600, seed=2), head.read_bytes()
    capsys.readouterr()

    assert _run(folder, head, "--fail-on-drift") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "600 recorded answers of this head in 1 file, 0 of others; min_tokens 1, patience 1"
    )
    assert lines[1].split()[:2] == ["target_rate", "threshold"]
    assert lines[-2].startswith("default ")
    assert lines[-1].startswith("0 of 5")
    assert head.read_bytes() == before


def test_drift_is_told_and_may_be_a_failure(head: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which levels, and how answers were generated otherwise."""
    folder = _recorded(head, 600, seed=2, shift=1.5, temperature=0.5)
    capsys.readouterr()

    assert _run(folder, head) == 0
    assert _run(folder, head, "--fail-on-drift") == 1
    told = capsys.readouterr().out
    assert _run(folder, head, "--json", "--fail-on-drift") == 1
    body = json.loads(capsys.readouterr().out)

    assert told.count("  drifted\n") > 5
    otherwise = "generated otherwise: temperature in 600 answers (calibrated with 1.0, serving 0.5)"
    assert otherwise in told
    assert body["answers"] == 600
    assert body["drifted"] == sum(level["drifted"] for level in body["levels"]) > 5
    assert body["generated_otherwise"][0]["setting"] == "temperature"
    level = body["levels"][10]
    assert level["traffic"]["n"] == 600
    assert level["calibrated"]["n"] == 400
    assert body["renewal"] is None


def test_labels_make_a_new_calibration_of_the_traffic(
    head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the one that calibrate makes of the trajectories; only --write replaces the old one."""
    folder = _recorded(head, 500, seed=3, shift=1.0)
    before, asked = load_value_head(head).card, [*_labelled(tmp_path), "--alpha", "0.1"]
    capsys.readouterr()

    assert _run(folder, head, *asked) == 0
    streams = capsys.readouterr()
    assert "500 answers have a label and 0 none" in streams.out
    assert streams.out.splitlines()[-1] == "nothing is replaced without --write"
    assert all(
        line.startswith("value-steer recalibrate: warning: ") for line in streams.err.splitlines()
    )
    assert load_value_head(head).card == before

    assert _run(folder, head, *asked, "--write") == 0
    card = load_value_head(head).card
    assert f"written to {head}" in capsys.readouterr().out
    assert len(list(read_trajectories(tmp_path / "t.jsonl"))) == 500
    assert card.threshold != before.threshold
    assert card.curve("alpha").resolve(0.1) == card.threshold  # type: ignore[union-attr]
    wanted = CalibrationOptions(alpha=0.1)
    assert calibrate_file(tmp_path / "t.jsonl", head, wanted, write=False).card == card
    capsys.readouterr()
    assert _run(folder, head, "--fail-on-drift") == 0


def test_without_labels_the_rates_alone_are_renewed(
    head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default threshold rests on labels, and stays."""
    folder, before = _recorded(head, 500, seed=3, shift=1.0), load_value_head(head).card
    assert _run(folder, head, "--fail-on-drift") == 1
    capsys.readouterr()

    assert _run(folder, head, "--write", "--json") == 0

    renewal, card = json.loads(capsys.readouterr().out)["renewal"], load_value_head(head).card
    assert renewal["written"] is True
    assert renewal["labels"] is None
    assert card.threshold == before.threshold
    assert card.curve("alpha") == before.curve("alpha")
    assert card.curve("target_rate") != before.curve("target_rate")
    changed = [c for c in renewal["changes"] if c["quantity"] == "target_rate"]
    assert any(c["old"] != c["new"] for c in changed)
    assert _run(folder, head, "--fail-on-drift") == 0


def test_the_rule_is_the_servers_unless_another_is_asked_for(
    head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said with the first line."""
    folder = _recorded(head, 50, seed=4)
    capsys.readouterr()

    assert _run(folder, head, "--min-tokens", "4", "--patience", "2") == 0

    assert "min_tokens 4, patience 2" in capsys.readouterr().out.splitlines()[0]


def test_a_torn_line_is_a_notice(head: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The answers before it count."""
    folder = _recorded(head, 50, seed=4)
    with (folder / "a.jsonl").open("ab") as handle:
        handle.write(b'{"id":"cmpl-')
    capsys.readouterr()

    assert _run(folder, head) == 0

    streams = capsys.readouterr()
    assert streams.out.startswith("50 recorded answers")
    assert streams.err == (
        f"value-steer recalibrate: warning: {folder / 'a.jsonl'}: its last line was not written to "
        "its end, and is left out\n"
    )


def test_a_head_without_a_calibration_has_nothing_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is said; a new one can be made all the same."""
    head = saved(tmp_path / "vhead.safetensors")
    folder = _recorded(head, 200, seed=5)

    assert _run(folder, head, "--fail-on-drift") == 0
    assert "no target_rate curve and no threshold" in capsys.readouterr().out
    assert _run(folder, head, "--write") == 0
    assert load_value_head(head).card.curve("target_rate") is not None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--labels", "labels.jsonl"], "give --labels and --out together"),
        (["--out", "new.jsonl"], "give --labels and --out together"),
        (["--alpha", "0.1"], "--alpha belongs to --labels"),
        (["--patience", "2"], "give --min-tokens and --patience together"),
        (["--labels", "labels.jsonl", "--out", "traffic/x.jsonl"], "write elsewhere"),
        (["--labels", "labels.jsonl", "--out", "labels.jsonl"], "--labels is read from there"),
        (["--labels", "none.jsonl", "--out", "new.jsonl"], "none.jsonl: cannot be used"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    head: Path,
    more: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is read; nothing is replaced."""
    monkeypatch.chdir(head.parent)
    before = head.read_bytes()
    capsys.readouterr()

    assert _run(head.parent / "traffic", head, *more, "--write") == 2

    streams = capsys.readouterr()
    assert (streams.out, streams.err.count("\n")) == ("", 1)
    assert said in streams.err
    assert head.read_bytes() == before


def test_a_folder_that_the_sidecar_cannot_be_written_to_is_refused_first(
    head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, before the traffic is read."""
    refuses = "cannot write to it (Read-only file system)"
    monkeypatch.setattr("value_steer.cli.recalibrate.unwritable", lambda _: refuses)
    capsys.readouterr()

    assert _run(head.parent / "traffic", head, "--write") == 2
    assert f"--head {head}: {refuses}\n" in capsys.readouterr().err
