"""Whether a head acts as often as it was calibrated to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.recalibration.recordings import SETTINGS, answer, entry, many, saved, write
from value_steer.calibration import AbstentionRule, Samples, rate_curve
from value_steer.calibration.bounds import clopper_pearson_interval
from value_steer.recalibration.drift import Drift, Share, drift_of
from value_steer.recalibration.recorded import Traffic, read_traffic
from value_steer.recalibration.renewal import renewed_rates
from value_steer.threshold import NEVER
from value_steer.trajectories import Trajectory
from value_steer.value_probe import HeadCard, Polarity, load_value_head

if TYPE_CHECKING:
    from pathlib import Path

CALIBRATED = replace(
    SETTINGS, temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, max_tokens=64, model="m"
)


def _traffic(tmp_path: Path, count: int, **changes: Any) -> Traffic:
    head = tmp_path / "head.pt"
    if not head.exists():
        saved(head)
    folder = tmp_path / f"traffic-{count}-{changes}"
    heads, answers, _ = many(head, count, **changes)
    write(folder / "a.jsonl", heads, answers)
    return read_traffic(folder, load_value_head(head))


def _calibrated(tmp_path: Path, count: int, *, seed: int = 0) -> HeadCard:
    return renewed_rates(_traffic(tmp_path, count, seed=seed), HeadCard(4))


def _flagged(drift: Drift) -> int:
    return len(drift.drifted)


def test_traffic_like_the_calibration_set_has_not_drifted(tmp_path: Path) -> None:
    """In hardly any of many pairs of sets; with a shift in every one."""
    alike = shifted = 0
    for seed in range(10):
        card = _calibrated(tmp_path, 400, seed=seed)
        alike += _flagged(drift_of(_traffic(tmp_path, 1500, seed=100 + seed), card)) > 0
        other = _traffic(tmp_path, 1500, seed=200 + seed, shift=1.0)
        shifted += _flagged(drift_of(other, card)) > 0

    assert alike <= 1
    assert shifted == 10


def test_much_traffic_is_not_held_against_a_small_calibration(tmp_path: Path) -> None:
    """Whose own rates are known within its intervals only."""
    card = _calibrated(tmp_path, 60, seed=3)

    drift = drift_of(_traffic(tmp_path, 5000, seed=4), card)

    assert not drift.drifted
    assert any(
        not level.traffic.low <= level.target_rate <= level.traffic.high
        for level in drift.levels
        if level.target_rate is not None
    )


@pytest.mark.parametrize("scores", list(Polarity))
def test_what_a_level_acts_on_is_what_the_engine_would_end(
    tmp_path: Path, scores: Polarity
) -> None:
    """By its rule, in either polarity; each request counts once."""
    head = saved(tmp_path / f"{scores.value}.pt", scores)
    folder = tmp_path / scores.value
    rows = {"a": [0.5, 0.1, 0.9, 0.1], "b": [0.5, 0.1, 0.1, 0.9], "c": [0.1, 0.9, 0.9, 0.9]}
    answers = [answer(name, row) for name, row in rows.items()]
    answers.append(replace(answers[0], choice=1, values=(0.5, 0.9, 0.9, 0.9)))
    write(folder / "a.jsonl", [entry(head, scores=scores, rule=(1, 2))], answers)
    traffic = read_traffic(folder, load_value_head(head))
    own = 0.25 if scores is Polarity.P_GOOD else 0.75
    card = HeadCard(4, scores=scores, threshold=own)

    (level,) = drift_of(traffic, card).levels
    (patient,) = drift_of(replace(traffic, rule=AbstentionRule(1, 3)), card).levels
    (eager,) = drift_of(replace(traffic, rule=AbstentionRule(1, 1)), card).levels

    assert level.target_rate is None
    assert not level.drifted
    found = [(one.traffic.events, one.traffic.n) for one in (eager, level, patient)]
    assert found == [(2, 3), (1, 3), (0, 3)]


def test_the_calibrated_share_is_that_of_the_calibration_set(tmp_path: Path) -> None:
    """As many of its responses as lie below the threshold."""
    traffic = _traffic(tmp_path, 300, seed=5)
    trajectories = [Trajectory(a.prompt_id, a.values, 0.0) for a in traffic.answers]
    curve = rate_curve(Samples(trajectories, Polarity.P_GOOD), traffic.rule)

    levels = drift_of(traffic, HeadCard(4, curves=(curve,))).levels

    assert len(levels) == 50
    for level in levels:
        assert level.calibrated is not None
        assert level.target_rate is not None
        assert level.calibrated.least <= level.traffic.events <= level.calibrated.most
        assert level.calibrated.most / level.calibrated.n <= level.target_rate
    # Values that are equal are acted on together; these are many and at the very end.
    assert levels[0].traffic.events == 0 < levels[0].calibrated.most  # type: ignore[union-attr]


def test_levels_that_never_act_have_nothing_to_compare(tmp_path: Path) -> None:
    """Nor has a head without a curve."""
    traffic = _traffic(tmp_path, 30, seed=6)
    card = renewed_rates(traffic, HeadCard(4, threshold=NEVER))

    assert all(level.threshold != NEVER for level in drift_of(traffic, card).levels)
    assert len(drift_of(traffic, card).levels) < 50
    assert drift_of(traffic, HeadCard(4)).levels == ()


def test_what_was_generated_otherwise_is_counted_by_setting(tmp_path: Path) -> None:
    """Each setting with the most frequent difference; what neither side knows is left out."""
    card = _calibrated(tmp_path, 60)
    curve = replace(card.curves[0], settings=CALIBRATED)
    same = drift_of(_traffic(tmp_path, 20, seed=1), replace(card, curves=(curve,)))
    warm = _traffic(tmp_path, 20, seed=1, temperature=0.5, max_tokens=128)

    told = drift_of(warm, replace(card, curves=(curve,))).otherwise

    assert same.otherwise == ()
    assert [(one.setting, one.answers) for one in told] == [("temperature", 20), ("max_tokens", 20)]
    assert told[0].most == "calibrated with 1.0, serving 0.5"
    unknown = replace(card, curves=(replace(curve, settings=None),))
    assert drift_of(warm, unknown).otherwise == ()


@pytest.mark.parametrize(
    ("events", "n", "interval"),
    [
        (0, 10, (0.0, 0.3085)),
        (10, 10, (0.6915, 1.0)),
        (3, 10, (0.0667, 0.6525)),
        (50, 1000, (0.0373, 0.0654)),
    ],
)
def test_the_interval_is_the_exact_one(events: int, n: int, interval: tuple[float, float]) -> None:
    """Against values of tables."""
    assert clopper_pearson_interval(events, n) == pytest.approx(interval, abs=1e-4)
    assert Share.of(events, n).rate == events / n


def test_the_interval_covers() -> None:
    """The true share in 95 of 100 samples at least."""
    draws = np.random.default_rng(0).binomial(80, 0.1, 2000)
    intervals = {int(k): clopper_pearson_interval(int(k), 80) for k in np.unique(draws)}

    covered = np.mean([intervals[int(k)][0] <= 0.1 <= intervals[int(k)][1] for k in draws])

    assert covered >= 0.95
