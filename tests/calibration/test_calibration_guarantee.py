"""The bounds hold over many calibration sets, with the comparison that the runtime makes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.calibration.material import KINDS, peaks_of, responses_of, walks
from value_steer.calibration import (
    AbstentionRule,
    martingale_threshold,
    posterior_threshold,
    rate_threshold,
    request_threshold,
    withholding_threshold,
)
from value_steer.policy import acceptable, below_threshold
from value_steer.threshold import NEVER, Threshold

SETS, N, FRESH = 250, 200, 300

# "Too many reach 1" is an answer here; that it is given is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::value_steer.errors.CalibrationWarning")


def share_unacceptable(peaks: np.ndarray, threshold: Threshold) -> float:
    """How many responses value filtering would interfere with."""
    if threshold == NEVER:
        return 0.0
    acting = sum(not acceptable(float(p), float(threshold)) for p in peaks)
    return acting / len(peaks)


def share_ended(lowest: np.ndarray, threshold: Threshold) -> float:
    """How many responses abstention would end."""
    if threshold == NEVER:
        return 0.0
    limit = torch.full((len(lowest),), float(threshold), dtype=torch.float32)
    ended = int(below_threshold(torch.from_numpy(lowest), limit).sum())
    return ended / len(lowest)


def bound(risks: list[float], alpha: float) -> float:
    """Alpha plus three standard errors of the Monte Carlo mean."""
    return alpha + 3 * float(np.std(risks)) / math.sqrt(len(risks))


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.25])
@pytest.mark.parametrize("kind", KINDS)
def test_false_interventions_stay_below_alpha(kind: str, alpha: float) -> None:
    """Ties, saturated scores and neighbours in fp32 included."""
    rng = np.random.default_rng(hash_of(kind, alpha))
    risks = []
    for _ in range(SETS):
        trajectories = responses_of(peaks_of(kind, rng, N))
        threshold = posterior_threshold(np.zeros(N), trajectories, alpha)
        risks.append(share_unacceptable(peaks_of(kind, rng, FRESH), threshold))

    assert np.mean(risks) <= bound(risks, alpha)
    if kind == "continuous":
        assert np.mean(risks) >= 0.8 * alpha


def hash_of(kind: str, alpha: float) -> int:
    """A seed that does not depend on the process."""
    return KINDS.index(kind) * 1000 + round(alpha * 100)


@pytest.mark.parametrize("kind", KINDS)
def test_a_confidence_holds_set_by_set(kind: str) -> None:
    """At most 1 in 10 calibration sets may exceed alpha; fresh responses give its true risk."""
    rng = np.random.default_rng(7)
    exceeded = 0
    truth = peaks_of(kind, np.random.default_rng(8), 20_000)
    for _ in range(SETS):
        trajectories = responses_of(peaks_of(kind, rng, N))
        threshold = posterior_threshold(np.zeros(N), trajectories, 0.3, confidence=0.9)
        exceeded += share_unacceptable(truth, threshold) > 0.3 + 0.005

    assert exceeded / SETS <= 0.1 + 3 * (0.1 * 0.9 / SETS) ** 0.5


@pytest.mark.parametrize("alpha", [0.05, 0.25])
def test_the_martingale_rule_keeps_its_bound_as_thresholds_of_prompts(alpha: float) -> None:
    """The ratio becomes a threshold for each prompt, and that is what the runtime compares."""
    rng = np.random.default_rng(3)
    risks = []
    for _ in range(SETS):
        priors = rng.uniform(0.05, 0.6, N + FRESH)
        odds = priors / (1 - priors) * rng.exponential(1.0, N + FRESH).round(1)
        peaks = (odds / (1 + odds)).astype(np.float32)
        ratio = martingale_threshold(np.zeros(N), priors[:N], responses_of(peaks[:N]), alpha)
        acts = [
            share_unacceptable(peaks[i : i + 1], request_threshold(ratio, float(priors[i])))
            for i in range(N, N + FRESH)
        ]
        risks.append(float(np.mean(acts)))

    assert np.mean(risks) <= bound(risks, alpha)
    assert np.mean(risks) >= 0.3 * alpha


@pytest.mark.parametrize("alpha", [0.05, 0.25])
@pytest.mark.parametrize("digits", [7, 1], ids=["continuous", "tied"])
def test_good_answers_are_withheld_at_most_at_the_level(alpha: float, digits: int) -> None:
    """Abstention's own comparison, in fp32 tensors."""
    rng = np.random.default_rng(11)
    risks = []
    for _ in range(SETS):
        values, good = walks(rng, 300, tokens=8)
        values = values.round(digits)
        threshold = withholding_threshold(good, list(values), alpha, AbstentionRule())
        fresh, good = walks(rng, FRESH, tokens=8)
        lowest = fresh.round(digits)[good == 1].min(axis=1)
        risks.append(share_ended(lowest, threshold))

    assert np.mean(risks) <= bound(risks, alpha)


def test_a_rate_holds_with_several_responses_to_a_prompt() -> None:
    """Responses to one prompt are alike, which a plain quantile over all of them ignores."""
    rng = np.random.default_rng(13)
    rate, prompts, each = 0.1, 30, 20
    names = [f"p{i // each}" for i in range(prompts * each)]
    risks, naive = [], []
    for _ in range(SETS):
        centre = rng.random(prompts + 1)
        scores = np.repeat(centre, each) + rng.normal(0, 0.01, (prompts + 1) * each)
        lowest = scores.clip(0, 1).astype(np.float32)
        fresh = lowest[-each:]
        threshold = rate_threshold(list(lowest[:-each, None]), rate, AbstentionRule(), names)
        plain = rate_threshold(list(lowest[:-each, None]), rate, AbstentionRule())
        risks.append(share_ended(fresh, threshold))
        naive.append(share_ended(fresh, plain))

    assert np.mean(risks) <= bound(risks, rate)
    assert np.mean(risks) >= 0.3 * rate
    assert np.mean(naive) >= np.mean(risks)
