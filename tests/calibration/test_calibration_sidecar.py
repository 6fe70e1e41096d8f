"""From a file of trajectories to a head that serves with what was calibrated."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.calibration.material import trajectories_of, walks
from value_steer.calibration import (
    AbstentionRule,
    CalibrationOptions,
    calibrate_file,
    request_threshold,
    write_training_prompts,
)
from value_steer.config import parse_settings
from value_steer.errors import CalibrationError, CalibrationWarning, DataError
from value_steer.operating_point import resolve_abstain_threshold, resolve_vfd_threshold
from value_steer.threshold import NEVER
from value_steer.trajectories import TrajectoryHeader, read_trajectories, write_trajectories
from value_steer.value_probe import (
    HeadCard,
    Polarity,
    SettingsFingerprint,
    ValueHead,
    load_value_head,
    oriented,
    save_value_head,
)
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    from value_steer.trajectories import Trajectory

GOOD, BAD = Polarity.P_GOOD, Polarity.P_UNDESIRABLE
SETTINGS = SettingsFingerprint(model="m", temperature=1.0, max_tokens=40, dtype="float32")


def material(n: int = 1200) -> list[Trajectory]:
    """Three responses to each prompt, in two groups, of a head of P(good)."""
    values, good = walks(np.random.default_rng(2), n)
    rows = trajectories_of(values[:, :-1], good, per_prompt=3)
    return [replace(row, group="ab"[i % 6 // 3]) for i, row in enumerate(rows)]


def prepare(
    folder: Path, rows: list[Trajectory], scores: Polarity = GOOD, card: HeadCard | None = None
) -> tuple[Path, Path]:
    """A file of trajectories, and a head that was trained on other prompts."""
    file, head = folder / "t.jsonl", folder / "vhead.pt"
    write_trajectories(file, TrajectoryHeader(scores, SETTINGS), rows)
    torch.manual_seed(0)
    save_value_head(head, ValueHead(4), card or HeadCard(4, backbone="m"))
    write_training_prompts(head, ["other"])
    return file, head


def test_a_calibrated_head_serves_both_modes(tmp_path: Path) -> None:
    """Every operating point of the configuration resolves."""
    file, path = prepare(tmp_path, material())
    before = load_value_head(path)
    report = calibrate_file(file, path)
    head = load_value_head(path)

    assert head.card == report.card
    assert (head.card.scores, head.card.backbone) == (GOOD, "m")
    assert all(
        torch.equal(a, b) for a, b in zip(head.parameters(), before.parameters(), strict=True)
    )
    assert {c.settings for c in head.card.curves} == {SETTINGS}
    assert [(c.quantity, c.group) for c in head.card.curves] == [
        ("alpha", None),
        ("alpha", "a"),
        ("alpha", "b"),
        ("target_rate", None),
        ("abstain_reward", None),
    ]
    good, bad = oriented(head, GOOD).head.card, oriented(head, BAD).head.card
    for keys in ({}, {"target_rate": 0.3}, {"abstain_reward": 0.3}):
        abstain = parse_settings({"abstain": {"value_head_path": "x", **keys}}).abstain
        assert abstain is not None
        assert 0 < float(resolve_abstain_threshold(abstain, good)) < 1
    for keys in ({}, {"alpha": 0.1}, {"alpha": 0.3}):
        vfd = parse_settings({"vfd": {"value_head_path": "x", **keys}}).vfd
        assert vfd is not None
        assert 0 < float(resolve_vfd_threshold(vfd, bad)) < 1


def test_the_report_says_what_a_level_does(tmp_path: Path) -> None:
    """One response of each prompt is counted."""
    rows = material()
    report = calibrate_file(*prepare(tmp_path, rows), CalibrationOptions(levels=(0.001, 0.05, 0.2)))
    never, low, high = report.points

    assert (report.prompts, report.responses) == (400, 1200)
    assert 150 < report.good < 250
    assert (never.threshold, never.upper_bound, never.acts_on_bad) == (NEVER, 0.0, 0.0)
    assert low.acts_on_good <= 0.05 < low.upper_bound < 0.1
    assert high.acts_on_good <= 0.2 < high.upper_bound < 0.3
    assert high.acts_on_bad is not None
    assert low.acts_on_bad is not None
    assert high.acts_on_bad >= low.acts_on_bad > high.acts_on_good


def test_either_polarity_gives_the_same_decisions(tmp_path: Path) -> None:
    """The thresholds are each other's complement, up to the margin for turning."""
    rows = material()
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    one = calibrate_file(*prepare(tmp_path / "good", rows))
    two = calibrate_file(*prepare(tmp_path / "bad", [row.turned() for row in rows], BAD))

    assert [p.acts_on_bad for p in one.points] == [p.acts_on_bad for p in two.points]
    for a, b in zip(one.points, two.points, strict=True):
        if a.threshold != NEVER:
            assert float(a.threshold) + float(b.threshold) == pytest.approx(1, abs=1e-6)


def test_priors_give_the_martingale_rule(tmp_path: Path) -> None:
    """Its ratio is kept with the head, and acts on few of the good responses."""
    rows = [replace(row, prior=0.3) for row in material()]
    report = calibrate_file(*prepare(tmp_path, rows))
    assert report.ratio is not None
    own = 1 - float(request_threshold(report.ratio, 0.7))
    acting = [row.values.min() <= own for row in rows if row.label]

    assert 0.01 < np.mean(acting) < 0.08
    assert report.card.meta == {"martingale_ratio": report.ratio, "martingale_alpha": 0.05}

    rows[:3] = [replace(row, prior=None) for row in rows[:3]]
    again = calibrate_file(*prepare(tmp_path, rows, card=report.card))
    assert (again.ratio, again.card.meta) == (None, {})


def test_training_prompts_are_refused(tmp_path: Path) -> None:
    """As listed beside the head, or in a file that is given."""
    file, head = prepare(tmp_path, material())
    listed = tmp_path / "train.txt"
    listed.write_text("p7\n", encoding="utf-8")

    with pytest.raises(CalibrationError, match=r"1 prompts .* \(p7\)"):
        calibrate_file(file, head, training_prompts=listed)
    write_training_prompts(head, ["p8", "p9"])
    with pytest.raises(CalibrationError, match=r"2 prompts .* \(p8, p9\)"):
        calibrate_file(file, head)
    assert load_value_head(head).card == HeadCard(4, backbone="m")


def unlisted(file: Path, head: Path) -> None:
    """Nothing says what the head was trained on."""
    Path(f"{head}.prompts.txt").unlink()
    assert file.exists()


def nameless(file: Path, head: Path) -> None:
    """Nothing says how the responses were generated."""
    write_trajectories(file, TrajectoryHeader(GOOD), material())
    assert head.exists()


def foreign(file: Path, head: Path) -> None:
    """The responses are of another model than the head's."""
    rows, settings = list(read_trajectories(file)), replace(SETTINGS, model="models/other")
    write_trajectories(file, TrajectoryHeader(GOOD, settings), rows)
    assert head.exists()


def small(file: Path, head: Path) -> None:
    """Too few responses for the default level."""
    write_trajectories(file, TrajectoryHeader(GOOD, SETTINGS), material(30))
    assert head.exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (unlisted, r"prompts\.txt is missing"),
        (nameless, "does not say how its responses were generated"),
        (foreign, "responses of models/other, but the head was trained on m"),
        (small, 'alpha = 0.05 is "never": . good responses, where it takes 19'),
    ],
)
def test_what_weakens_a_calibration_is_said_or_refused(
    tmp_path: Path, spoil: object, said: str
) -> None:
    """A warning, and with ``strict`` an error that leaves the head alone."""
    file, head = prepare(tmp_path, material())
    spoil(file, head)  # type: ignore[operator]
    before = load_value_head(head).card

    with pytest.raises(CalibrationError, match=said):
        calibrate_file(file, head, CalibrationOptions(strict=True))
    assert load_value_head(head).card == before
    with pytest.warns(CalibrationWarning, match=said):
        calibrate_file(file, head)
    assert load_value_head(head).card.curves


def test_nothing_is_said_of_a_sound_calibration(tmp_path: Path) -> None:
    """Not even with ``strict``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate_file(*prepare(tmp_path, material()), CalibrationOptions(strict=True))


def test_values_of_the_other_polarity_are_refused(tmp_path: Path) -> None:
    """They are another head's."""
    file, head = prepare(tmp_path, material(), card=HeadCard(4, scores=BAD))

    with pytest.raises(CalibrationError, match="values of p_good, but the head scores p_und"):
        calibrate_file(file, head)


def test_without_good_responses_there_is_nothing_to_bound(tmp_path: Path) -> None:
    """One clear error."""
    rows = [replace(row, label=0.0) for row in material()]

    with pytest.raises(CalibrationError, match="no trajectory is labelled good"):
        calibrate_file(*prepare(tmp_path, rows))


def test_options_reach_the_curves(tmp_path: Path) -> None:
    """Without groups, with a confidence, with the settings of abstention."""
    options = CalibrationOptions(
        levels=(0.2,), confidence=0.9, by_group=False, rule=AbstentionRule(5, 2)
    )
    card = calibrate_file(*prepare(tmp_path, material()), options).card
    alpha, rate = card.curves[:2]

    assert [asked for asked, _ in alpha.points] == [0.0, 0.05, 0.2]
    assert "confidence 0.9" in str(alpha.guarantee)
    assert rate.quantity == "target_rate"
    assert "min_tokens 5 and patience 2" in str(rate.guarantee)


def test_values_of_another_head_are_refused(tmp_path: Path) -> None:
    """From Python as from the command; the sidecar stays what it was."""
    file, path = prepare(tmp_path, material(60))
    other = TrajectoryHeader(GOOD, SETTINGS, weights_digest(ValueHead(4)))
    write_trajectories(file, other, material(60))
    before = path.read_bytes()

    with pytest.raises(DataError, match="holds values of another head"):
        calibrate_file(file, path)
    assert path.read_bytes() == before
    own = TrajectoryHeader(GOOD, SETTINGS, weights_digest(load_value_head(path)))
    write_trajectories(file, own, material(60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)  # so few responses are
        assert calibrate_file(file, path).responses == 60
