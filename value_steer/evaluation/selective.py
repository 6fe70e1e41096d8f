"""Selective accuracy, risk-coverage and reward of a stop rule.

Source: evaluation of "Knowing When to Quit"; the area under the risk-coverage curve is that of
selective classification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from value_steer.calibration.abstention import POOLED_RATES, pooled_rewards
from value_steer.calibration.curves import CERTAIN
from value_steer.evaluation.intervals import Estimate, percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from value_steer.evaluation.intervals import Floats, Mask, Prompts
    from value_steer.evaluation.rules import Rule

_BLOCKS = 10
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A rule at one threshold.

    Attributes:
        target_rate: Abstention rate that the threshold was chosen for.
        threshold: Abstain at the first score below it.
        rate: Abstention rate that it has; ties keep it below the target.
        accuracy: Of the responses that were answered.
        incorrect_if_abstained: Share of wrong ones among the withheld.
        saved_tokens: Share of all tokens that were not generated.
        abstention_time: Mean number of tokens before abstaining.
        abstention_time_median: Median of the same.
        abstention_share: Mean of the same as a share of the full response.
        abstain_reward: Reward of abstaining at which this threshold is right: the probability of
            being correct at the score where the rule stops; ``None`` if that is not known.
        reward: What an answer is worth then, P(answered and correct) +
            ``abstain_reward`` P(abstained).
    """

    target_rate: float
    threshold: float
    rate: Estimate
    accuracy: Estimate
    incorrect_if_abstained: Estimate
    saved_tokens: Estimate
    abstention_time: Estimate
    abstention_time_median: float | None
    abstention_share: Estimate
    abstain_reward: float | None
    reward: Estimate


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Error rate among the answered for every share of responses that is answered.

    Attributes:
        coverage: Share answered, ascending to 1, at most 200 of them.
        risk: Share of wrong ones among them.
        area: Mean risk over all coverages, AURC; less is better.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: Estimate


def operating_points(
    rule: Rule, labels: Floats, prompts: Prompts, rates: Sequence[float]
) -> tuple[OperatingPoint, ...]:
    """A rule at the thresholds of some abstention rates.

    Args:
        rule: The rule.
        labels: How far each response is correct, from 0 to 1.
        prompts: Its prompt, for the intervals.
        rates: Abstention rates between 0 and 1.
    """
    thresholds = rule.thresholds(rates)
    stops = rule.stops(thresholds)
    held, everyone = stops.abstained, np.ones_like(stops.abstained)
    rewards = _abstain_rewards(rule, labels, thresholds)
    times = np.where(held, stops.tokens, 0)
    columns = zip(
        rates,
        thresholds.tolist(),
        prompts.rates(held, everyone),
        _means(prompts, labels, ~held),
        _means(prompts, 1 - labels, held),
        prompts.ratios(rule.lengths - stops.tokens, np.broadcast_to(rule.lengths, held.shape)),
        prompts.ratios(times, held),
        [_median(row[row > -1]) for row in np.where(held, stops.tokens, -1)],
        prompts.ratios(times / rule.lengths, held),
        [None if np.isnan(reward) else float(reward) for reward in rewards],
        prompts.ratios(np.where(held, rewards[:, None], labels), everyone),
        strict=True,
    )
    return tuple(OperatingPoint(*column) for column in columns)


def risk_coverage(rule: Rule, labels: Floats, prompts: Prompts) -> RiskCoverage:
    """The whole risk-coverage curve; responses of equal score come in any order alike."""
    # Shuffled among equals: the order of the file must not matter to the interval.
    shuffle = np.random.default_rng(0).permutation(len(labels))
    order = np.lexsort((shuffle, -rule.score))
    wrong = 1 - labels[order]
    _, codes, counts = np.unique(rule.score[order], return_inverse=True, return_counts=True)
    expected = (np.bincount(codes, weights=wrong) / counts)[codes]
    size = np.arange(1, len(order) + 1)
    risk = np.cumsum(expected) / size
    columns = prompts.codes[order]
    blocks = np.array_split(prompts.weights, _BLOCKS)
    low, high = percentiles(np.concatenate([_areas(wrong, block[:, columns]) for block in blocks]))
    area = Estimate(float(risk.mean()), low, high, len(order))
    shown = np.unique(np.linspace(0, len(order) - 1, _SHOWN).astype(int))
    coverage = size[shown] / len(order)
    return RiskCoverage(tuple(coverage.tolist()), tuple(risk[shown].tolist()), area)


def _means(prompts: Prompts, amounts: Floats, among: Mask) -> list[Estimate]:
    """Mean amount of some of the responses; a share if the amounts are 0 and 1."""
    if np.isin(amounts, (0, 1)).all():
        return prompts.rates(np.broadcast_to(amounts == 1, among.shape), among)
    return prompts.ratios(amounts * among, among)


def _median(amounts: NDArray[np.int64]) -> float | None:
    return float(np.median(amounts)) if amounts.size else None


def _areas(wrong: Floats, weights: NDArray[np.float32]) -> Floats:
    """Areas of some resamples, whose weights are ``[resamples, responses]``, the surest first."""
    drawn = weights.cumsum(1, dtype=np.float64)
    risk = (weights * wrong).cumsum(1) / np.maximum(drawn, 1)
    return np.asarray((weights * risk).sum(1) / drawn[:, -1])


def _abstain_rewards(rule: Rule, labels: Floats, thresholds: Floats) -> Floats:
    """P(correct) at each threshold, NaN where it is unknown or all but certain."""
    if rule.judges_once:  # nothing is selected then
        crossings = rule.score[:, None] if rule.judges else np.full((len(labels), 1), np.nan)
    else:
        crossings = rule.stops(rule.thresholds(POOLED_RATES.tolist())).scores.T
    rewards = pooled_rewards(crossings, labels, thresholds)
    rewards[rewards >= CERTAIN] = np.nan
    return rewards
