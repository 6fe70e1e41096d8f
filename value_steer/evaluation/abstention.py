"""Every stop rule on the same finished responses: what a threshold gains, and what it saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from value_steer.errors import DataError
from value_steer.evaluation import rules
from value_steer.evaluation.columns import Columns
from value_steer.evaluation.intervals import Estimate, Prompts
from value_steer.evaluation.selective import (
    OperatingPoint,
    RiskCoverage,
    operating_points,
    risk_coverage,
)
from value_steer.evaluation.transfer import Transfer, threshold_transfer
from value_steer.value_probe.card import Polarity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.evaluation.intervals import Floats
    from value_steer.evaluation.rules import Rule
    from value_steer.trajectories import Trajectory, TrajectoryHeader

RATES = tuple(round(rate, 2) for rate in np.linspace(0.02, 0.98, 49).tolist())
"""Abstention rates of the curves."""


@dataclass(frozen=True, slots=True)
class AbstentionSettings:
    """Settings of an evaluation of abstention.

    Attributes:
        rates: Abstention rates.
        steps: Token counts of the fixed-step probes.
        window: Tokens of a confidence group.
        min_tokens: First response token that the dynamic rule judges.
        seed: Of splits and resampling.
    """

    rates: tuple[float, ...] = RATES
    steps: tuple[int, ...] = (1, 20)
    window: int = 16
    min_tokens: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RuleResult:
    """A rule's result.

    Attributes:
        name: Of the rule.
        points: One per abstention rate; one at rate 0 for no abstention.
        risk_coverage: The whole curve.
        transfer: How its thresholds transfer; ``None`` for no abstention, and with fewer than
            twenty prompts.
    """

    name: str
    points: tuple[OperatingPoint, ...]
    risk_coverage: RiskCoverage
    transfer: Transfer | None


@dataclass(frozen=True, slots=True)
class AbstentionResult:
    """All rules on the same responses.

    Attributes:
        responses: How many.
        prompts: Of how many prompts.
        tokens: How many tokens.
        base_accuracy: Without abstention.
        rules: One result per rule; the first is no abstention.
        left_out: Rules that the data does not allow, and why.
    """

    responses: int
    prompts: int
    tokens: int
    base_accuracy: Estimate
    rules: tuple[RuleResult, ...]
    left_out: tuple[str, ...]


def evaluate_abstention(
    header: TrajectoryHeader,
    trajectories: Sequence[Trajectory],
    columns: Columns | None = None,
    settings: AbstentionSettings | None = None,
) -> AbstentionResult:
    """Replay every rule that the data allows.

    Args:
        header: Says what the values mean; P(undesirable) is turned to P(good).
        trajectories: Responses of the unsteered model.
        columns: Scores that some baselines need.
        settings: What to evaluate.

    Raises:
        DataError: There are no trajectories.
    """
    settings = settings or AbstentionSettings()
    if not trajectories:
        msg = "no trajectories to evaluate; capture some responses first"
        raise DataError(msg)
    turns = header.scores is Polarity.P_UNDESIRABLE
    traces = [trace.turned() for trace in trajectories] if turns else list(trajectories)
    prompts = Prompts([trace.prompt_id for trace in traces], settings.seed)
    labels = np.array([trace.label for trace in traces], np.float64)
    allowed, left_out = _rules(traces, columns or Columns(), settings)
    everyone = np.ones((1, len(traces)))
    return AbstentionResult(
        len(traces),
        prompts.count,
        sum(trace.tokens for trace in traces),
        prompts.ratios(labels[None], everyone)[0],
        tuple(_result(rule, labels, prompts, settings) for rule in allowed),
        left_out,
    )


def _rules(
    traces: Sequence[Trajectory], columns: Columns, settings: AbstentionSettings
) -> tuple[list[Rule], tuple[str, ...]]:
    found, left_out = [rules.no_abstention(traces)], []
    if all(trace.prior is not None for trace in traces):
        found.append(rules.prompt_probe(traces))
    else:
        left_out.append("prompt probe: some trajectories have no prior")
    found += [rules.fixed_step(traces, step) for step in settings.steps]
    found.append(rules.post_hoc(traces))
    if columns.self_assessment:
        found.append(rules.before_generation("self-assessment", traces, columns.self_assessment))
    else:
        left_out.append("self-assessment: no such column")
    if columns.confidence:
        found.append(rules.confidence_stop(traces, columns.confidence, settings.window))
    else:
        left_out.append("confidence stop: no confidence column")
    found.append(rules.dynamic(traces, settings.min_tokens))
    return found, tuple(left_out)


def _result(
    rule: Rule, labels: Floats, prompts: Prompts, settings: AbstentionSettings
) -> RuleResult:
    splits = rule.judges and prompts.count >= _SPLITTABLE
    return RuleResult(
        rule.name,
        operating_points(rule, labels, prompts, settings.rates if rule.judges else (0.0,)),
        risk_coverage(rule, labels, prompts),
        threshold_transfer(rule, prompts, seed=settings.seed) if splits else None,
    )


_SPLITTABLE = 20
