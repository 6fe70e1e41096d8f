"""Intervals cover what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from value_steer.evaluation.intervals import Estimate, Prompts, proportion


def test_a_share_has_the_exact_interval() -> None:
    """The rule of three, nearly: nothing in 100 leaves up to 3.6 %."""
    none = proportion(0, 100)

    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(1 - 0.025**0.01)
    for hits, n in [(0, 7), (3, 7), (7, 7), (40, 311)]:
        interval = binomtest(hits, n).proportion_ci(0.95, method="exact")
        found = proportion(hits, n)
        assert found.low == pytest.approx(interval.low)
        assert found.high == pytest.approx(interval.high)
    assert proportion(0, 0) == Estimate(None, None, None, 0)


def test_alike_responses_do_not_narrow_an_interval() -> None:
    """Ten copies of each response say no more than one."""
    draw = np.random.default_rng(0)
    hits = draw.random(60) < 0.4
    once = Prompts([str(i) for i in range(60)])
    often = Prompts([str(i) for i in range(60) for _ in range(10)])

    (alone,) = once.ratios(hits[None].astype(float), np.ones((1, 60)))
    (copied,) = often.rates(np.repeat(hits, 10)[None], np.ones((1, 600), bool))

    assert copied.value == alone.value
    assert copied.low == pytest.approx(alone.low)
    assert copied.high == pytest.approx(alone.high)


def test_the_bootstrap_covers_the_mean() -> None:
    """In about 95 of 100 samples."""
    draw = np.random.default_rng(1)
    covered = 0
    for seed in range(100):
        amounts = draw.exponential(size=(1, 150))
        prompts = Prompts([str(i) for i in range(150)], seed)
        (mean,) = prompts.ratios(amounts, np.ones((1, 150)))
        assert mean.low is not None
        assert mean.high is not None
        covered += mean.low <= 1.0 <= mean.high

    assert 86 <= covered <= 99


def test_the_order_of_prompts_does_not_matter() -> None:
    """Responses of a prompt need not stand together."""
    amounts = np.array([[1.0, 2.0, 3.0, 4.0]])
    ones = np.ones((1, 4))
    apart = Prompts(["a", "b", "a", "b"]).ratios(amounts, ones)
    together = Prompts(["a", "a", "b", "b"]).ratios(amounts[:, [0, 2, 1, 3]], ones)

    assert apart == together


def test_relative_figures() -> None:
    """Twice the tokens in half the time is four times the speed."""
    prompts = Prompts(["a", "b"])
    own = (np.array([[4.0, 4.0]]), np.array([[1.0, 1.0]]))
    base = (np.array([[2.0, 2.0]]), np.array([[2.0, 2.0]]))

    assert prompts.relative(own, base) == Estimate(4.0, 4.0, 4.0, 2)
    unknown = (own[0], np.full((1, 2), np.nan))
    assert prompts.relative(unknown, base).value is None
