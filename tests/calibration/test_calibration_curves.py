"""Curves in either polarity, as the modes that are served turn and compare them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calibration.material import trajectories_of, walks
from value_steer.calibration import (
    AbstentionRule,
    Samples,
    abstention_rewards,
    alpha_curve,
    rate_curve,
    reward_curve,
)
from value_steer.calibration.curves import TURNING
from value_steer.calibration.levels import places
from value_steer.errors import CalibrationError
from value_steer.policy import acceptable, below_threshold
from value_steer.threshold import NEVER, Threshold, complement
from value_steer.trajectories import Trajectory
from value_steer.value_probe import HeadCard, Polarity, SettingsFingerprint, ValueHead, oriented

GOOD, BAD = Polarity.P_GOOD, Polarity.P_UNDESIRABLE
RULE = AbstentionRule()
SETTINGS = SettingsFingerprint(model="m", temperature=1.0)

# Logits on a coarse grid, so that there are ties, and far out, so that scores saturate.
LOGITS = st.lists(st.integers(-60, 60).map(lambda z: z / 2.5), min_size=2, max_size=30)


def seen(logits: list[float], scores: Polarity) -> Samples:
    """One-token responses of a head of P(undesirable) whose logits these are, or its opposite."""
    sign = 1.0 if scores is BAD else -1.0
    values = torch.sigmoid(sign * torch.tensor(logits)).numpy()
    label = 0.0 if scores is BAD else 1.0
    rows = [Trajectory(f"p{i}", v[None], label) for i, v in enumerate(values)]
    return Samples(rows, scores, SETTINGS)


def test_turned_values_differ_by_less_than_is_allowed_for() -> None:
    """On all of fp32's range in which a sigmoid is neither 0 nor 1."""
    z = torch.linspace(-120, 120, 2_000_001)
    difference = (1.0 - torch.sigmoid(z).double()) - torch.sigmoid(-z).double()

    assert float(difference.abs().max()) < TURNING


@settings(deadline=None)
@given(LOGITS, st.sampled_from(Polarity), st.floats(0.05, 0.95))
def test_a_level_acts_on_at_most_the_allowed_ones_in_either_mode(
    logits: list[float], scores: Polarity, alpha: float
) -> None:
    """Whatever the head scores; the runtime evaluates the turned head and turns the threshold."""
    curve = alpha_curve(seen(logits, scores), (alpha,))
    own = curve.resolve(alpha)
    allowed = max(0, places(len(logits), alpha) - 1)

    assert curve.n == len(logits)
    assert curve.settings == SETTINGS
    assert filtered(logits, own if scores is BAD else complement(own)) <= allowed
    assert ended(logits, own if scores is GOOD else complement(own)) <= allowed


def filtered(logits: list[float], p_undesirable: Threshold) -> int:
    """How many responses value filtering interferes with."""
    served = torch.sigmoid(torch.tensor(logits)).tolist()
    if p_undesirable == NEVER:
        return 0
    return len([p for p in served if not acceptable(p, float(p_undesirable))])


def ended(logits: list[float], p_good: Threshold) -> int:
    """How many responses abstention ends."""
    served = torch.sigmoid(-torch.tensor(logits))
    if p_good == NEVER:
        return 0
    return int(below_threshold(served, torch.full_like(served, float(p_good))).sum())


@settings(deadline=None)
@given(LOGITS, st.sampled_from(Polarity), st.floats(0.05, 0.95))
def test_abstention_acts_on_at_most_the_allowed_ones(
    logits: list[float], scores: Polarity, rate: float
) -> None:
    """The same for the rate, in the comparison of fp32 tensors."""
    threshold = rate_curve(seen(logits, scores), RULE, (rate,)).resolve(rate)
    threshold = threshold if scores is GOOD else complement(threshold)

    assert ended(logits, threshold) <= max(0, places(len(logits), rate) - 1)


def test_groups_have_thresholds_of_their_own() -> None:
    """Each with the bound for its own prompts; the curve of all is none of them."""
    rng = np.random.default_rng(0)
    values = {"easy": rng.beta(2, 8, 400), "hard": rng.beta(8, 2, 400)}
    rows = [
        Trajectory(f"{group}{i}", np.array([v], dtype=np.float32), 0.0, group=group)
        for group, column in values.items()
        for i, v in enumerate(column)
    ]
    samples = Samples(rows, BAD)
    easy, hard, both = (
        float(alpha_curve(samples, (0.1,), group=group).resolve(0.1))
        for group in ("easy", "hard", None)
    )

    assert (values["easy"] >= easy).mean() == pytest.approx(0.1, abs=0.01)
    assert (values["hard"] >= hard).mean() == pytest.approx(0.1, abs=0.01)
    assert easy < both < hard
    assert (values["hard"] >= both).mean() > 0.15
    with pytest.raises(CalibrationError, match="no trajectory of group 'none' is labelled good"):
        alpha_curve(samples, group="none")


def test_an_undecided_label_is_not_good() -> None:
    """One half counts as bad in either polarity."""
    row = Trajectory("a", np.array([0.5], dtype=np.float32), 0.5)

    assert not Samples([row], GOOD).good(row)
    assert not Samples([row], BAD).good(row)


@pytest.mark.parametrize("scores", Polarity)
def test_the_reward_of_an_exact_head_is_its_threshold(scores: Polarity) -> None:
    """P(good) at the first crossing is just below the threshold, if the value is exact."""
    values, good = walks(np.random.default_rng(5), 12_000, tokens=150)
    trajectories = trajectories_of(values, good)
    if scores is BAD:
        trajectories = [t.turned() for t in trajectories]
    curve = reward_curve(Samples(trajectories, scores), RULE)
    assert curve is not None
    inner = [(r, c) for r, c in curve.points if 0.1 < r < 0.6]
    errors = [float(c if scores is GOOD else complement(c)) - r for r, c in inner]

    assert len(inner) >= 5
    assert np.abs(errors).mean() < 0.025
    assert curve.resolve(0.0) == NEVER or curve.points[0][0] == 0.0


def test_rewards_need_enough_abstentions() -> None:
    """From a few, nothing is estimated."""
    values, good = walks(np.random.default_rng(6), 100)
    lowest = np.sort(values.min(axis=1))

    few, many = abstention_rewards(good, list(values), [float(lowest[10]), 0.9], RULE)

    assert few is None
    assert many is not None
    assert reward_curve(Samples(trajectories_of(values[:9], good[:9]), GOOD), RULE) is None


def test_responses_that_are_never_judged_have_no_reward() -> None:
    """All are shorter than the first token that counts."""
    values, good = walks(np.random.default_rng(6), 100)
    samples = Samples(trajectories_of(values, good), GOOD)

    assert reward_curve(samples, AbstentionRule(min_tokens=1000)) is None


@pytest.mark.parametrize("scores", Polarity)
@pytest.mark.parametrize("wants", Polarity)
def test_all_curves_fit_a_card_and_turn_with_the_head(
    scores: Polarity, wants: Polarity, caplog: pytest.LogCaptureFixture
) -> None:
    """A card refuses curves of the wrong direction."""
    values, good = walks(np.random.default_rng(7), 500)
    trajectories = trajectories_of(values, good, per_prompt=2)
    if scores is BAD:
        trajectories = [t.turned() for t in trajectories]
    samples = Samples(trajectories, scores)
    reward = reward_curve(samples, RULE)
    assert reward is not None
    head = ValueHead(4)
    curves = (alpha_curve(samples), rate_curve(samples, RULE), reward)
    head.card = HeadCard(4, scores=scores, curves=curves)

    with caplog.at_level(logging.WARNING):
        card = oriented(head, wants).head.card

    assert [curve.quantity for curve in card.curves] == ["alpha", "target_rate", "abstain_reward"]
    assert caplog.records == []
