"""What the threshold functions answer, set by set, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from value_steer.calibration import (
    AbstentionRule,
    martingale_threshold,
    posterior_threshold,
    rate_threshold,
    request_threshold,
    withholding_threshold,
)
from value_steer.calibration.levels import places, smallest_n
from value_steer.calibration.posterior import peak
from value_steer.errors import CalibrationError, CalibrationWarning
from value_steer.policy import acceptable
from value_steer.threshold import NEVER

P = st.floats(0, 1, width=32)
SCORES = st.lists(P | st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=40)
LEVELS = st.floats(0.01, 0.99)

quiet = pytest.mark.filterwarnings("ignore::value_steer.errors.CalibrationWarning")


@quiet
@settings(deadline=None)
@given(SCORES, LEVELS)
def test_at_most_the_allowed_ones_act(scores: list[float], alpha: float) -> None:
    """All above the threshold, and a lower threshold in fp32 would let one more act."""
    labels, trajectories = np.zeros(len(scores)), [[s / 2, s] for s in scores]
    threshold = posterior_threshold(labels, trajectories, alpha)
    allowed = places(len(scores), alpha)

    if threshold == NEVER:
        assert allowed == 0 or sorted(scores)[-allowed] == 1.0
        return
    number = float(threshold)
    assert float(np.float32(number)) == number
    assert sum(not acceptable(s, number) for s in scores) < allowed
    lower = float(np.nextafter(np.float32(number), np.float32(0)))
    assert sum(not acceptable(s, lower) for s in scores) >= allowed


@quiet
@settings(deadline=None)
@given(SCORES, LEVELS, LEVELS)
def test_a_higher_level_acts_at_least_as_often(scores: list[float], a: float, b: float) -> None:
    """The curve is monotone."""
    labels, trajectories = np.zeros(len(scores)), [[s] for s in scores]
    low, high = (posterior_threshold(labels, trajectories, x) for x in sorted((a, b)))

    assert as_number(low) >= as_number(high)


def as_number(threshold: object) -> float:
    """Never is above all."""
    return math.inf if threshold == NEVER else float(threshold)  # type: ignore[arg-type]


@quiet
@settings(deadline=None)
@given(SCORES, LEVELS)
def test_unsafe_responses_do_not_matter(scores: list[float], alpha: float) -> None:
    """The bound is on safe ones."""
    trajectories = [[s] for s in scores]
    alone = posterior_threshold(np.zeros(len(scores)), trajectories, alpha)
    labels = [0] * len(scores) + [1, 1]

    assert posterior_threshold(labels, [*trajectories, [0.0], [1.0]], alpha) == alone


@quiet
@settings(deadline=None)
@given(st.lists(st.tuples(P, st.floats(0, 1)), min_size=3, max_size=30), LEVELS)
def test_the_martingale_threshold_lets_at_most_the_allowed_ones_act(
    pairs: list[tuple[float, float]], alpha: float
) -> None:
    """Compared as thresholds of prompts, saturated values and priors included."""
    peaks, priors = [p for p, _ in pairs], [q for _, q in pairs]
    ratio = martingale_threshold(np.zeros(len(pairs)), priors, [[p] for p in peaks], alpha)
    acting = 0
    for p, prior in pairs:
        own = request_threshold(ratio, prior)
        acting += own != NEVER and not acceptable(p, float(own))

    assert acting <= max(0, places(len(pairs), alpha) - 1)


@quiet
@settings(deadline=None)
@given(SCORES, LEVELS)
def test_a_rate_ends_at_most_the_allowed_ones(scores: list[float], rate: float) -> None:
    """Strictly below the threshold, and a higher one would end one more."""
    threshold = rate_threshold([[s, 1.0] for s in scores], rate, AbstentionRule())
    allowed = places(len(scores), rate)

    if threshold == NEVER:
        assert allowed == 0
        return
    number = float(threshold)
    assert sum(s < number for s in scores) < allowed
    higher = float(np.nextafter(np.float32(number), np.float32(2)))
    assert sum(s < higher for s in scores) >= allowed


@pytest.mark.parametrize(
    ("n", "tau", "confidence", "needed"),
    [(9, 0.05, None, 19), (18, 0.05, None, 19), (98, 0.01, None, 99), (58, 0.05, 0.95, 59)],
)
def test_too_few_safe_responses_never_intervene(
    n: int, tau: float, confidence: float | None, needed: int
) -> None:
    """Nothing is clamped; the warning says how many it takes, and that many are enough."""
    one = [[0.5]]
    with pytest.warns(CalibrationWarning, match=f"{n} safe responses are too few.*takes {needed}"):
        answer = posterior_threshold([0] * n, one * n, tau, confidence=confidence)
    assert answer == NEVER
    with pytest.raises(CalibrationError, match="too few"):
        posterior_threshold([0] * n, one * n, tau, confidence=confidence, strict=True)

    enough = posterior_threshold([0] * needed, one * needed, tau, confidence=confidence)
    assert enough == float(np.nextafter(np.float32(0.5), np.float32(1)))
    assert smallest_n(tau, confidence) == needed


def test_saturated_scores_never_intervene_rather_than_break_the_bound() -> None:
    """No threshold up to 1 keeps a value of 1 out."""
    trajectories = [[1.0]] * 5 + [[0.2]] * 95

    with pytest.warns(CalibrationWarning, match="too many of the 100 safe responses reach 1"):
        assert posterior_threshold([0] * 100, trajectories, 0.02) == NEVER
    with pytest.raises(CalibrationError, match="reach 1"):
        martingale_threshold([0] * 100, [0.5] * 100, trajectories, 0.02, strict=True)
    assert posterior_threshold([0] * 100, trajectories, 0.1) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("labels", "trajectories", "tau", "said"),
    [
        ([0, 1], [[0.5]], 0.5, "must be 1 numbers"),
        ([[0]], [[0.5]], 0.5, "must be 1 numbers"),
        ([True, False], [[0.5], [0.5]], 0.5, "0 for a safe response and 1 for an undesirable"),
        ([0.5], [[0.5]], 0.5, "0 for a safe response"),
        ([1, 1], [[0.5], [0.5]], 0.5, "none is 0"),
        ([0], [[1.5]], 0.5, "list of probabilities"),
        ([0], [[[0.5]]], 0.5, "list of probabilities"),
        ([0], [[0.5]], 0.0, "alpha = 0.0: must be a number between 0 and 1"),
        ([0], [[0.5]], 1.0, "alpha = 1.0"),
        ([0], [[0.5]], math.nan, "alpha = nan"),
    ],
)
def test_what_does_not_fit_is_refused(
    labels: list[float], trajectories: list[list[float]], tau: float, said: str
) -> None:
    """Truth values above all: which of the two would be safe?"""
    with pytest.raises(CalibrationError, match=said):
        posterior_threshold(np.array(labels), trajectories, tau)


@pytest.mark.parametrize("priors", [[0.5], [0.5, 1.5], [0.5, math.nan], [[0.5, 0.5]]])
def test_priors_must_be_probabilities(priors: list[float]) -> None:
    """One for each trajectory."""
    with pytest.raises(CalibrationError, match="priors: must be 2 probabilities"):
        martingale_threshold([0, 0], priors, [[0.5], [0.5]], 0.5)


def test_a_value_that_is_not_a_number_acts() -> None:
    """As it does in the runtime, so it counts against the bound."""
    assert peak([0.1, math.nan]) == math.inf
    assert peak([]) == 0.0
    assert AbstentionRule().score([0.1, math.nan]) == -math.inf


@pytest.mark.parametrize(
    ("rule", "score"),
    [
        (AbstentionRule(), 0.1),
        (AbstentionRule(min_tokens=3), 0.3),
        (AbstentionRule(patience=2), 0.4),
        (AbstentionRule(min_tokens=2, patience=3), 0.8),
        (AbstentionRule(min_tokens=7), math.inf),
        (AbstentionRule(min_tokens=5, patience=3), math.inf),
    ],
)
def test_a_rule_is_judged_as_the_runtime_is_set(rule: AbstentionRule, score: float) -> None:
    """From a token on, and only after a run of tokens."""
    values = [0.6, 0.1, 0.9, 0.4, 0.3, 0.8]

    assert rule.score(values) == score
    if math.isfinite(score):
        above = math.nextafter(score, 1)
        assert np.isnan(rule.crossings(values, [score, above])).tolist() == [True, False]


@pytest.mark.parametrize("wrong", [{"min_tokens": 0}, {"patience": 0}])
def test_a_rule_counts_from_one(wrong: dict[str, int]) -> None:
    """There is no value before the first response token."""
    with pytest.raises(CalibrationError, match="must be at least 1"):
        AbstentionRule(**wrong)


def test_only_good_answers_count_for_withholding() -> None:
    """Bad ones may be ended as often as it takes."""
    trajectories = [[0.1]] * 50 + [[0.5], [0.6], [0.7]]
    labels = [0] * 50 + [1] * 3

    assert withholding_threshold(labels, trajectories, 0.5, AbstentionRule()) == pytest.approx(0.6)
    assert withholding_threshold(labels, trajectories, 0.2, AbstentionRule()) == NEVER
    with pytest.raises(CalibrationError, match="one for each trajectory"):
        withholding_threshold([1], trajectories, 0.5, AbstentionRule())


def test_prompts_are_one_for_each_response() -> None:
    """A shorter list is a mistake."""
    with pytest.raises(CalibrationError, match="2 trajectories, but 1 prompts"):
        rate_threshold([[0.5], [0.5]], 0.5, AbstentionRule(), ["a"])
