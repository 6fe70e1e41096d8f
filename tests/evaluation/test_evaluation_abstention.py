"""Figures of stop rules: against the authors' evaluation, against exact values, by hand."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.traces import HEADER, exact, oracle, trace, written
from value_steer.errors import DataError
from value_steer.evaluation import rules
from value_steer.evaluation.abstention import AbstentionSettings, evaluate_abstention
from value_steer.evaluation.columns import Columns
from value_steer.evaluation.intervals import Prompts
from value_steer.evaluation.selective import operating_points, risk_coverage
from value_steer.evaluation.transfer import threshold_transfer
from value_steer.trajectories import TrajectoryHeader, read_header, read_trajectories
from value_steer.value_probe import Polarity

if TYPE_CHECKING:
    from pathlib import Path

    from value_steer.evaluation.abstention import AbstentionResult, RuleResult
    from value_steer.trajectories import Trajectory

RATES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)


def result_of(result: AbstentionResult, name: str) -> RuleResult:
    """What one rule came to."""
    (found,) = (rule for rule in result.rules if rule.name == name)
    return found


def prompts_of(traces: list[Trajectory]) -> Prompts:
    """The prompts of trajectories."""
    return Prompts([t.prompt_id for t in traces])


def labels_of(traces: list[Trajectory]) -> np.ndarray:
    """The labels of trajectories."""
    return np.array([t.label for t in traces])


@pytest.mark.parametrize(
    ("per_prompt", "decimals"), [(1, None), (4, None), (2, 1)], ids=["one", "four", "ties"]
)
def test_a_file_gives_the_authors_numbers(
    tmp_path: Path, per_prompt: int, decimals: int | None
) -> None:
    """Selective accuracy and saved tokens equal their rule's at every rate, to 1e-9."""
    path = written(tmp_path / "traces.jsonl", exact(600, 1, per_prompt, decimals))
    theirs = oracle(exact(600, 1, per_prompt, decimals))

    result = evaluate_abstention(
        read_header(path), list(read_trajectories(path)), settings=AbstentionSettings(rates=RATES)
    )

    for point in result_of(result, "dynamic").points:
        threshold = theirs.threshold(point.target_rate)
        assert point.threshold == pytest.approx(threshold, abs=1e-12)
        accuracy = theirs.selective_accuracy(threshold)
        assert point.accuracy.value == pytest.approx(accuracy, abs=1e-9)
        assert point.saved_tokens.value == pytest.approx(theirs.saved_tokens(threshold), abs=1e-9)


def test_thresholds_transfer_from_a_tenth_of_the_prompts() -> None:
    """Mean error over 20 splits and 19 rates is at most .011 with 2,000 to 4,000 responses."""
    for count in (2000, 4000):
        traces = exact(count, count)

        transfer = threshold_transfer(rules.dynamic(traces), prompts_of(traces))

        assert (transfer.splits, len(transfer.points)) == (20, 19)
        assert transfer.calibration_prompts == count // 10
        assert transfer.mean_error <= 0.011
        # A single split is off by as much as the quantile of so few responses must be.
        p = np.array([point.target for point in transfer.points])
        noise = np.sqrt(2 / np.pi * p * (1 - p) * 10 / count).mean()
        assert 0.8 * noise < transfer.split_error < 1.25 * noise


def test_a_prompt_is_on_one_side_of_a_split() -> None:
    """Responses to one prompt are alike, so the error of a split is that of the prompts."""
    alone = exact(400, 3)
    alike = [t for t in alone for _ in range(5)]

    errors = [
        threshold_transfer(rules.dynamic(traces), prompts_of(traces)).split_error
        for traces in (alone, alike)
    ]

    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def test_too_few_prompts_are_not_split() -> None:
    """One prompt cannot be on both sides."""
    traces = [trace([0.5])] * 50
    with pytest.raises(DataError, match="cannot be split"):
        threshold_transfer(rules.dynamic(traces), prompts_of(traces))


def test_the_reward_of_abstaining_is_the_threshold_of_an_exact_value() -> None:
    """With the true value the rule is right exactly where the reward equals the threshold."""
    traces = exact(4000, 5)

    points = operating_points(rules.dynamic(traces), labels_of(traces), prompts_of(traces), RATES)

    for point in points[1:-1]:
        assert point.abstain_reward == pytest.approx(point.threshold, abs=0.08)
        assert point.reward.value is not None
        # Better than never abstaining and than always doing so, up to the noise of the sample.
        assert point.reward.value > max(labels_of(traces).mean(), point.abstain_reward) - 0.02


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.0, 1.0])),
        min_size=2,
        max_size=6,
    )
)
@settings(max_examples=30)
def test_the_area_is_the_mean_over_orders_of_equals(pairs: list[tuple[float, float]]) -> None:
    """Responses of one score may be answered in any order."""
    traces = [trace([score], label, f"p{i}") for i, (score, label) in enumerate(pairs)]

    area = risk_coverage(rules.dynamic(traces), labels_of(traces), prompts_of(traces)).area

    areas = [
        np.mean([1 - np.mean([label for _, label in order[:k]]) for k in range(1, len(order) + 1)])
        for order in permutations(pairs)
        if list(order) == sorted(order, key=lambda pair: -pair[0])
    ]
    assert area.value == pytest.approx(np.mean(areas))


def test_a_point_by_hand() -> None:
    """Four responses, of which the threshold withholds two."""
    traces = [
        trace([0.9, 0.1, 0.1, 0.1], 0.0, "a"),
        trace([0.2, 0.2], 1.0, "b"),
        trace([0.8, 0.8, 0.8], 1.0, "c"),
        trace([0.7], 0.0, "d"),
    ]

    (point,) = operating_points(rules.dynamic(traces), labels_of(traces), prompts_of(traces), [0.5])

    assert 0.2 < point.threshold < 0.7
    assert (point.rate.value, point.rate.n) == (0.5, 4)
    assert (point.accuracy.value, point.accuracy.n) == (0.5, 2)
    assert point.incorrect_if_abstained.value == 0.5
    assert point.saved_tokens.value == pytest.approx(3 / 10)
    assert point.abstention_time.value == point.abstention_time_median == 1.5
    assert point.abstention_share.value == 0.5


def test_nobody_answered_has_no_accuracy() -> None:
    """What cannot be measured is said to be unknown."""
    traces = [trace([0.4], 1.0, "a"), trace([0.4], 0.0, "b")]

    points = operating_points(rules.dynamic(traces), labels_of(traces), prompts_of(traces), [0.5])

    assert points[0].accuracy.value == 0.5  # ties are answered
    assert points[0].incorrect_if_abstained.value is None
    assert points[0].abstention_time_median is None


def test_a_head_of_the_other_polarity_is_turned() -> None:
    """P(unsafe) along an unsafe response is P(good) along a bad one."""
    good = exact(60, 6)
    bad = [t.turned() for t in good]

    as_good = evaluate_abstention(HEADER, good)
    as_bad = evaluate_abstention(TrajectoryHeader(Polarity.P_UNDESIRABLE), bad)

    assert as_bad.base_accuracy == as_good.base_accuracy
    pairs = zip(as_bad.rules, as_good.rules, strict=True)
    assert all(a.risk_coverage.risk == pytest.approx(b.risk_coverage.risk) for a, b in pairs)


def test_every_baseline_is_there_when_the_data_allows_it() -> None:
    """And what is missing is named with its reason."""
    traces = exact(60, 7)
    columns = Columns(
        self_assessment=tuple(np.linspace(0, 1, 60)),
        confidence=tuple(np.ones(t.tokens) for t in traces),
    )

    everything = evaluate_abstention(HEADER, traces, columns)
    little = evaluate_abstention(HEADER, [trace([0.5]), *traces[1:]])

    assert [rule.name for rule in everything.rules] == [
        "no abstention",
        "prompt probe",
        "probe at token 1",
        "probe at token 20",
        "post hoc",
        "self-assessment",
        "confidence over 16",
        "dynamic",
    ]
    assert everything.left_out == ()
    assert [reason.split(":")[0] for reason in little.left_out] == [
        "self-assessment",
        "confidence stop",
    ]


def test_nothing_to_evaluate_is_an_error() -> None:
    """An empty file is not a result."""
    with pytest.raises(DataError, match="no trajectories"):
        evaluate_abstention(HEADER, [])
