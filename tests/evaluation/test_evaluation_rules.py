"""Where each stop rule ends a response."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.traces import exact, oracle, trace
from value_steer.errors import DataError
from value_steer.evaluation import rules
from value_steer.trajectories import Trajectory

PROBABILITIES = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1, width=32, allow_subnormal=False)
)
TRACES = st.lists(st.lists(PROBABILITIES, min_size=1, max_size=8), min_size=1, max_size=8)


@given(TRACES, PROBABILITIES)
def test_the_dynamic_rule_ends_at_the_first_value_below(
    values: list[list[float]], threshold: float
) -> None:
    """It is the authors' rule at every threshold, ties included."""
    traces = [trace(v) for v in values]

    stops = rules.dynamic(traces).stops(np.array([threshold]))

    expected = oracle(traces).abstains_at(threshold)
    assert stops.abstained[0].tolist() == [at is not None for at in expected]
    assert stops.tokens[0].tolist() == [
        len(v) if at is None else at for v, at in zip(values, expected, strict=True)
    ]
    for t, score, at in zip(traces, stops.scores[0], expected, strict=True):
        assert np.isnan(score) if at is None else score == t.values[at - 1]


@given(TRACES, st.floats(0, 1))
def test_a_rate_is_not_exceeded(values: list[list[float]], rate: float) -> None:
    """The comparison is strict, so ties at the threshold are answered."""
    rule = rules.dynamic([trace(v) for v in values])

    abstained = rule.stops(rule.thresholds([rate])).abstained

    assert abstained.sum() <= np.ceil(rate * (len(values) - 1))


def test_tokens_before_the_first_judged_one_do_not_count() -> None:
    """A response that ends before it is never judged, and never withheld."""
    rule = rules.dynamic([trace([0.1, 0.9, 0.2]), trace([0.1])], min_tokens=2)

    stops = rule.stops(np.array([0.15, 0.5, 1.0]))

    assert stops.abstained.tolist() == [[False, False], [True, False], [True, False]]
    assert stops.tokens[:, 0].tolist() == [3, 3, 2]


@pytest.mark.parametrize(
    ("step", "tokens"), [(1, [1, 1]), (2, [2, 1]), (9, [3, 1])], ids=["first", "second", "beyond"]
)
def test_a_fixed_step_is_judged_alone(step: int, tokens: list[int]) -> None:
    """A shorter response is judged at its end."""
    rule = rules.fixed_step([trace([0.2, 0.2, 0.2]), trace([0.2])], step)

    assert rule.stops(np.array([0.5])).tokens[0].tolist() == tokens
    assert rule.judges_once


def test_a_value_that_recovers_is_seen_by_the_dynamic_rule_only() -> None:
    """The prompt, a fixed step and the end see other values of the same response."""
    traces = [trace([0.6, 0.1, 0.8], prior=0.7)]
    scores = [
        rule.score.tolist()
        for rule in (
            rules.prompt_probe(traces),
            rules.fixed_step(traces, 1),
            rules.post_hoc(traces),
            rules.dynamic(traces),
        )
    ]

    assert scores == [[pytest.approx(s)] for s in (0.7, 0.6, 0.8, 0.1)]


def test_before_generation_everything_is_saved() -> None:
    """A prompt that is turned down costs no token."""
    traces = [trace([0.5] * 4, prior=0.2), trace([0.5] * 4, prior=0.8)]

    assert rules.prompt_probe(traces).stops(np.array([0.5])).tokens.tolist() == [[0, 4]]


def test_confidence_is_averaged_over_a_window() -> None:
    """The first group is full before it is judged; a shorter response is one group."""
    traces = [trace([0.5] * 4), trace([0.5])]
    confidences = [np.array([0.0, 8.0, 1.0, 3.0]), np.array([2.0])]

    rule = rules.confidence_stop(traces, confidences, window=2)

    assert rule.score.tolist() == [2.0, 2.0]  # of groups 4.0, 4.5, 2.0
    assert rule.stops(np.array([2.5])).tokens.tolist() == [[4, 1]]
    assert rule.stops(np.array([4.2])).tokens.tolist() == [[2, 1]]


def test_no_abstention_withholds_nothing() -> None:
    """Whatever the threshold."""
    rule = rules.no_abstention(exact(5))

    assert not rule.stops(np.array([0.0, 1.0])).abstained.any()
    assert not rule.judges


def test_bad_requests_are_refused() -> None:
    """With what is wrong."""
    blind = Trajectory("p", np.array([0.5], np.float32), 1.0)
    with pytest.raises(DataError, match="prior of every trajectory"):
        rules.prompt_probe([blind])
    with pytest.raises(DataError, match="step = 0"):
        rules.fixed_step([blind], 0)
    with pytest.raises(DataError, match="min_tokens = 0"):
        rules.dynamic([blind], 0)
    with pytest.raises(DataError, match="window = 0"):
        rules.confidence_stop([blind], [np.ones(1)], 0)
