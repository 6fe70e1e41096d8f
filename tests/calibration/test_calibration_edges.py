"""Numbers at the edges: an error or the right value, never a threshold that fails open."""

from __future__ import annotations

import math
import sys
import warnings
from typing import TYPE_CHECKING, Any

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
    calibrate_file,
    clopper_pearson_upper,
    is_held_out,
    martingale_threshold,
    one_per_prompt,
    posterior_threshold,
    rate_curve,
    rate_threshold,
    request_threshold,
    reward_curve,
    split_by_prompt,
    withholding_threshold,
)
from value_steer.calibration.levels import just_above, just_below, places, smallest_n
from value_steer.calibration.spread import places_around
from value_steer.errors import CalibrationError, CalibrationWarning
from value_steer.threshold import is_threshold
from value_steer.trajectories import Trajectory, TrajectoryHeader, write_trajectories
from value_steer.value_probe import (
    CalibrationCurve,
    HeadCard,
    Polarity,
    ValueHead,
    load_value_head,
    save_value_head,
)

if TYPE_CHECKING:
    from pathlib import Path

NAN, INF = math.nan, math.inf
RULE = AbstentionRule()


@pytest.mark.parametrize(
    ("ratio", "prior"),
    [
        (2.0, NAN),
        (2.0, -0.2),
        (2.0, 1.5),
        (2.0, "0.5"),
        (2.0, True),
        (2.0, None),
        (NAN, 0.5),
        (INF, 0.5),
        (-1.0, 0.5),
        ("always", 0.5),
        ("never", NAN),
        (10**400, 0.5),
    ],
)
def test_a_request_without_a_ratio_or_prior_is_refused(ratio: Any, prior: Any) -> None:
    """Never "never", which acts on nothing, and never a number below 0."""
    with pytest.raises(CalibrationError, match="must be a number from 0"):
        request_threshold(ratio, prior)


@settings(deadline=None, max_examples=300)
@given(
    st.floats(0, sys.float_info.max),
    st.floats(0, 1),
    st.floats(0, 1, width=32),
)
def test_a_request_acts_where_its_ratio_is_reached(ratio: float, prior: float, p: float) -> None:
    """In fp32's own comparison, save for a rounding at the threshold itself."""
    threshold = request_threshold(ratio, prior)

    assert isinstance(threshold, float)
    assert 0 <= threshold <= 1
    if 0 < prior < 1 and 0 < p < 1:
        odds, needed = p / (1 - p), ratio * prior / (1 - prior)
        if odds < needed * (1 - 1e-6):
            assert p < threshold
        if odds > needed * (1 + 1e-6) + 1e-44 and p < 1 - 1e-6:
            assert p >= threshold
    if p == 1:
        assert p >= threshold


@pytest.mark.parametrize(
    "call",
    [
        lambda: posterior_threshold([0, NAN], [[0.5], [0.5]], 0.5),
        lambda: posterior_threshold([0, 0], [[0.5], [NAN, 7.0]], 0.5),
        lambda: posterior_threshold([0], [["0.5"]], 0.5),
        lambda: posterior_threshold([0], [[[0.5]]], 0.5),
        lambda: posterior_threshold([0], [np.zeros((0, 3))], 0.5),
        lambda: posterior_threshold([0], [[0.5, [0.5]]], 0.5),  # type: ignore[list-item]
        lambda: posterior_threshold([0], [[1e300]], 0.5),
        lambda: posterior_threshold([0], [[10**400]], 0.5),
        lambda: posterior_threshold([0], [[True]], 0.5),
        lambda: posterior_threshold([0], [[0.5]], NAN),
        lambda: posterior_threshold([0], [[0.5]], "0.5"),  # type: ignore[arg-type]
        lambda: posterior_threshold([0], [[0.5]], 1e-300),
        lambda: posterior_threshold([0], [[0.5]], 0.5, confidence=NAN),
        lambda: posterior_threshold([1, 1], [[0.5], [0.5]], 0.5),
        lambda: posterior_threshold([], [], 0.5),
        lambda: posterior_threshold(torch.tensor([True]), [[0.5]], 0.5),  # type: ignore[arg-type]
        lambda: martingale_threshold([0], [NAN], [[0.5]], 0.5),
        lambda: martingale_threshold([0], ["0.5"], [[0.5]], 0.5),
        lambda: rate_threshold([[1.5]], 0.5, RULE),
        lambda: rate_threshold([[-0.5]], 0.5, RULE),
        lambda: rate_threshold([[0.5]], NAN, RULE),
        lambda: withholding_threshold(["1"], [[0.5]], 0.5, RULE),
        lambda: abstention_rewards([1], [[0.5]], [2.0], RULE),
        lambda: AbstentionRule(min_tokens=NAN),  # type: ignore[arg-type]
        lambda: AbstentionRule(patience=1.5),  # type: ignore[arg-type]
        lambda: AbstentionRule(patience=True),
        lambda: clopper_pearson_upper(NAN, 3),  # type: ignore[arg-type]
        lambda: clopper_pearson_upper(1.5, 3),  # type: ignore[arg-type]
        lambda: clopper_pearson_upper(1, INF),  # type: ignore[arg-type]
        lambda: clopper_pearson_upper(1, 3, NAN),
        lambda: just_above(NAN),
        lambda: just_above(-0.2),
        lambda: just_below(NAN),
        lambda: is_held_out("p", NAN),
        lambda: is_held_out("p", 1.5),
        lambda: CalibrationCurve("alpha", ((NAN, 0.5),), 3),
        lambda: CalibrationCurve("alpha", ((0.1, NAN),), 3),
        lambda: CalibrationCurve("alpha", ((0.1, 1.5),), 3),
        lambda: CalibrationCurve("alpha", ((0.1, 0.5),), 3, spread=()),
        lambda: CalibrationCurve("alpha", ((0.1, 0.5),), 3, spread=((0.1, NAN),)),
        lambda: CalibrationCurve("alpha", ((0.0, 0.5),), 3).resolve(NAN),
        lambda: CalibrationCurve("abstain_reward", ((0.0, 0.5),), 3).resolve(NAN),
    ],
)
def test_what_is_no_number_in_range_is_refused(call: Any) -> None:
    """By one of our errors, before anything is computed from it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        with pytest.raises(CalibrationError):
            call()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_tensors_of_any_precision_are_read_exactly(dtype: torch.dtype) -> None:
    """Numpy has no bf16."""
    values = [torch.tensor([0.1, x], dtype=dtype) for x in (0.2, 0.3, 0.7)]
    labels, priors = torch.zeros(3, dtype=dtype), torch.full((3,), 0.5, dtype=dtype)

    threshold = posterior_threshold(labels, values, 0.25)  # type: ignore[arg-type]

    assert threshold == just_above(values[-1][1].item())
    assert martingale_threshold(labels, priors, values, 0.25) != "never"  # type: ignore[arg-type]
    assert rate_threshold(values, 0.5, RULE) == just_below(values[0][0].item())


def test_values_that_are_no_numbers_act() -> None:
    """A head that cannot judge must not let an answer through."""
    with pytest.warns(CalibrationWarning):
        assert posterior_threshold([0], [[NAN, 0.2]], 0.5) == "never"
    assert RULE.score([NAN, 0.9]) == -INF


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("alpha", [1e-9, 0.05, 0.5, 0.95, 1 - 1e-9])
@pytest.mark.parametrize("confidence", [None, 0.5, 1 - 1e-9])
def test_few_scores_have_a_place_or_none(n: int, alpha: float, confidence: float | None) -> None:
    """Of one score, at most that one acts."""
    assert 0 <= places(n, alpha, confidence) <= n
    assert smallest_n(alpha, confidence) >= 0


@pytest.mark.parametrize(
    ("values", "label"),
    [([0.5], 0.0), ([0.0], 0.0), ([1.0], 0.0), ([0.5, 0.5, 0.5], 0.0)],
    ids=["one", "zero", "saturated", "ties"],
)
@pytest.mark.parametrize("scores", Polarity)
def test_one_response_makes_curves(values: list[float], label: float, scores: Polarity) -> None:
    """With thresholds of "never" or in [0, 1], which act on it no more often than they say."""
    good = label if scores is Polarity.P_UNDESIRABLE else 1.0 - label
    samples = Samples([Trajectory("p", np.array(values), good)], scores)

    for curve in (alpha_curve(samples), rate_curve(samples, RULE)):
        assert curve.follows(scores)
        assert curve.spread is not None
        assert curve.points[1][1] == "never"
    assert reward_curve(samples, RULE) is None


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.sampled_from([0.0, 1e-45, 0.1, 0.5, 1.0]), min_size=1, max_size=3),
            st.sampled_from([0.0, 0.5, 1.0]),
            st.sampled_from("abc"),
        ),
        min_size=1,
        max_size=80,
    ),
    scores=st.sampled_from(Polarity),
    patience=st.integers(1, 3),
)
def test_any_responses_make_curves_or_one_error(
    rows: list[tuple[list[float], float, str]], scores: Polarity, patience: int
) -> None:
    """Ties, one class, one prompt; intervals hold their threshold's neighbourhood in order."""
    rule = AbstentionRule(patience=patience)
    samples = Samples([Trajectory(p, np.array(v), label) for v, label, p in rows], scores)
    curves = [rate_curve(samples, rule), reward_curve(samples, rule)]
    try:
        curves.append(alpha_curve(samples))
    except CalibrationError:
        assert not any(samples.good(t) for t in samples.trajectories)
    for curve in curves:
        if curve is None:
            continue
        assert curve.follows(scores)
        assert curve.spread is not None
        for more, less in curve.spread:
            assert is_threshold(more)
            assert is_threshold(less)
            numbers = [
                1.0 - float(c) if scores is Polarity.P_GOOD else float(c)
                for c in (more, less)
                if c != "never"
            ]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("alpha", [0.05, 0.25])
def test_an_interval_holds_the_exact_threshold(alpha: float) -> None:
    """In at least 95 of 100 calibration sets, and it is not wider than it has to be."""
    rng, n, hits, widths = np.random.default_rng(5), 100, 0, []
    far, near = places_around(n, alpha)
    for _ in range(2000):
        scores = np.sort(rng.random(n))
        low, high = scores[-far], scores[-near] if near else 1.0
        hits += low <= 1 - alpha <= high
        widths.append(high - low)

    assert 0.945 < hits / 2000 < 0.985
    assert np.mean(widths) < 6 * math.sqrt(alpha * (1 - alpha) / n)


def test_the_interval_of_a_reward_holds_it() -> None:
    """With an exact head the reward is the threshold; resampled prompts spread around it."""
    values, labels = walks(np.random.default_rng(3), 1500)
    curve = reward_curve(Samples(trajectories_of(values, labels), Polarity.P_GOOD), RULE)

    assert curve is not None
    assert curve.spread is not None
    inner = [
        (reward, float(less), float(more))
        for (reward, c), (more, less) in zip(curve.points, curve.spread, strict=True)
        if c != "never" and 0.2 < reward < 0.8
    ]
    assert np.mean([less <= reward <= more for reward, less, more in inner]) > 0.8
    assert max(more - less for _, less, more in inner) < 0.35


def test_an_interval_narrows_with_more_prompts_and_is_stored(tmp_path: Path) -> None:
    """In the sidecar, in the head's own polarity, and it survives the way there and back."""
    rng, found = np.random.default_rng(0), []
    for n in (100, 1600):
        walked, labels = walks(rng, n)
        path, head = tmp_path / f"{n}.jsonl", tmp_path / f"{n}.pt"
        write_trajectories(path, TrajectoryHeader(Polarity.P_GOOD), trajectories_of(walked, labels))
        save_value_head(head, ValueHead(4), HeadCard(4))
        with pytest.warns(CalibrationWarning):
            report = calibrate_file(path, head)
        curve = load_value_head(head).card.curve("alpha")
        assert curve == report.card.curve("alpha")
        assert report.points[-1].spread == curve.spread[-1]  # type: ignore[union-attr, index]
        more, less = report.points[-1].spread
        found.append(float(more) - float(less))

    assert 0 < found[1] < found[0] / 2


def test_a_threshold_on_few_crossings_is_warned_about(tmp_path: Path) -> None:
    """With the count; strict refuses."""
    walked, labels = walks(np.random.default_rng(0), 100)
    path, head = tmp_path / "t.jsonl", tmp_path / "v.pt"
    write_trajectories(path, TrajectoryHeader(Polarity.P_GOOD), trajectories_of(walked, labels))
    save_value_head(head, ValueHead(4), HeadCard(4))

    with pytest.warns(CalibrationWarning) as caught:
        calibrate_file(path, head)

    assert any("rests on 1 good responses beyond it" in str(w.message) for w in caught)


def test_equal_prompts_count_once_and_stay_on_one_side() -> None:
    """Whatever their ids; those of other texts keep theirs."""
    rows = [Trajectory(f"id{i}", np.array([0.5]), 0.0, prompt="same") for i in range(40)]
    rows += [Trajectory(f"other{i}", np.array([0.5]), 0.0) for i in range(3)]

    assert len(one_per_prompt(rows)) == 4
    with pytest.raises(CalibrationError, match="also held out, under other ids"):
        split_by_prompt(rows, 0.5)


def test_ids_that_differ_in_a_last_character_are_two_prompts() -> None:
    """Also if it is one that numpy's text drops."""
    values = [np.array([x]) for x in (0.1, 0.2, 0.3)]

    assert rate_threshold(values, 0.25, RULE, ["a", "a\0", "b"]) == just_below(0.1)
