"""The decisions as pure functions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from value_steer.policy import (
    Candidate,
    acceptable,
    below_threshold,
    extend_streaks,
    in_control_group,
    least_penalised,
    least_undesirable,
    refused_from,
    replace_tokens,
)

_UNIT = st.floats(0.0, 1.0, width=32)


@given(st.lists(st.tuples(_UNIT, _UNIT), min_size=1, max_size=8))
def test_abstention_is_strictly_below_the_threshold(pairs: list[tuple[float, float]]) -> None:
    """A value that equals its threshold goes on, ties and rounding to fp32 included."""
    values = torch.tensor([value for value, _ in pairs])
    thresholds = torch.tensor([threshold for _, threshold in pairs])

    below = below_threshold(values, thresholds)

    assert below.tolist() == [value < threshold for value, threshold in pairs]


def test_a_value_that_is_no_number_counts_as_below() -> None:
    """A head that cannot judge does not let an answer through."""
    assert below_threshold(torch.tensor([math.nan]), torch.tensor([0.0])).item() is True


@given(st.lists(st.booleans(), max_size=30))
def test_streaks_count_consecutive_tokens(below: list[bool]) -> None:
    """A run grows with every token below the threshold and starts over at any other."""
    streak, run = torch.zeros(1, dtype=torch.int32), 0
    for token in below:
        streak = extend_streaks(streak, torch.tensor([token]))
        run = run + 1 if token else 0
        assert streak.item() == run


def test_only_fired_rows_end() -> None:
    """Fired rows take their own stop token; the others keep what was sampled."""
    sampled = torch.tensor([[10], [11], [12]], dtype=torch.int32)
    stop_tokens = torch.tensor([1, 2, 3], dtype=torch.int32)

    ended = replace_tokens(sampled, torch.tensor([True, False, True]), stop_tokens)

    assert ended.tolist() == [[1], [11], [3]]
    assert ended.dtype == torch.int32


@pytest.mark.parametrize(
    ("p", "threshold", "expected"),
    [
        (0.5, 0.5, False),
        (torch.tensor(0.1).item(), 0.1, False),
        (torch.tensor(0.7).item(), 0.7, True),
        (math.nan, 0.5, False),
        (math.nan, 1.0, False),
        (0.0, 0.0, False),
        (0.999, 1.0, True),
    ],
)
def test_a_token_is_acceptable_strictly_below_the_threshold(
    p: float, threshold: float, expected: object
) -> None:
    """Ties are objections, fp32 values are compared as they are, and no value is an objection."""
    assert acceptable(p, threshold) is expected


def test_the_fallbacks_choose_by_value_and_probability() -> None:
    """The lowest value, or the lowest after a reward for probability; the earliest of equals."""
    candidates = [Candidate(5, 0.9), Candidate(6, math.nan), Candidate(7, 0.7), Candidate(8, 0.7)]

    assert least_undesirable(candidates).token == 7
    assert least_penalised(candidates, [0.8, 0.1, 0.1, 0.1], weight=1.0).token == 5
    assert least_penalised(candidates, [0.8, 0.1, 0.1, 0.1], weight=0.0).token == 7


def test_no_fallback_is_chosen_where_a_candidate_has_no_probability() -> None:
    """It would be compared with the others by another rule."""
    with pytest.raises(ValueError, match="shorter"):
        least_penalised([Candidate(5, 0.9), Candidate(6, 0.1)], [0.8], weight=1.0)


def test_nothing_is_below_the_threshold_of_a_control() -> None:
    """Not even what is no number; a head that is broken acts on no request of the control group."""
    values = torch.tensor([0.0, 1.0, math.nan])

    assert not below_threshold(values, torch.full((3,), -math.inf)).any()
    assert not refused_from(values, torch.full((3,), math.inf)).any()


@given(st.lists(st.tuples(_UNIT | st.just(math.nan), _UNIT), min_size=1, max_size=8))
def test_a_batch_is_refused_as_its_tokens_are(pairs: list[tuple[float, float]]) -> None:
    """Ties, rounding and what is no number included; the threshold that refuses all does."""
    values = torch.tensor([value for value, _ in pairs])
    thresholds = torch.tensor([threshold for _, threshold in pairs])

    refused = refused_from(values, thresholds)

    assert refused.tolist() == [not acceptable(value, threshold) for value, threshold in pairs]
    assert refused_from(values, torch.full((len(pairs),), -math.inf)).all()


def test_the_control_group_has_its_share() -> None:
    """By the id alone, so that a request belongs to it wherever and whenever that is asked."""
    names = [f"chatcmpl-{number}" for number in range(4000)]

    inside = [name for name in names if in_control_group(name, 0.1)]

    assert 320 < len(inside) < 480
    assert all(in_control_group(name, 0.2) for name in inside)
    assert all(in_control_group(name, 1.0) for name in names)
    assert not any(in_control_group(name, 0.0) for name in names)
    assert in_control_group("half of a pair \ud800", 1.0)
