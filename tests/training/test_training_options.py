"""Settings and the schedule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from value_steer.errors import SettingsError
from value_steer.training import ABSTENTION, FILTERING, TrainingOptions
from value_steer.training.schedule import Schedule


def test_the_defaults_are_the_papers() -> None:
    """AdamW 1e-4 with decay .01, clipping at 1, a tenth of warm-up, ten epochs, patience 3."""
    assert TrainingOptions() == FILTERING
    assert (FILTERING.learning_rate, FILTERING.weight_decay, FILTERING.clip_norm) == (1e-4, 0.01, 1)
    assert (FILTERING.warmup, FILTERING.epochs, FILTERING.patience) == (0.1, 10, 3)
    assert (FILTERING.gamma, FILTERING.alpha, FILTERING.coh_weight) == (1, 0.7, 0.1)
    assert (ABSTENTION.loss_name, ABSTENTION.weighting, ABSTENTION.use_td) == (
        "bce",
        "pooled",
        False,
    )


@pytest.mark.parametrize(
    "setting",
    [
        {"loss_name": "hinge"},
        {"weighting": "by_mood"},
        {"decay": "cosine"},
        {"autocast": "int8"},
        {"coh_weight": -0.1},
        {"gamma": float("nan")},
        {"alpha": 1.0},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"clip_norm": 0.0},
        {"warmup": 1.5},
        {"epochs": 0},
        {"patience": 0},
        {"min_delta": -1.0},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_a_setting_out_of_range_is_named(setting: dict[str, Any]) -> None:
    """With its value and what it may be."""
    (name,) = setting

    with pytest.raises(SettingsError, match=f"training options: {name} = .* must be"):
        TrainingOptions(**setting)


def test_all_wrong_settings_are_listed() -> None:
    """Not the first one alone."""
    with pytest.raises(SettingsError, match=r"epochs = 0 .*; patience = 0"):
        TrainingOptions(epochs=0, patience=0)


def test_the_schedule_by_hand() -> None:
    """Ten steps, of which two warm up; no step is of rate 0."""
    schedule = Schedule(10, 0.2, "linear")

    rates = [schedule(step) for step in range(10)]

    assert rates == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


@given(st.integers(1, 60), st.floats(0, 1), st.sampled_from(["linear", "none"]))
def test_every_schedule_rises_then_falls_or_stays(steps: int, warmup: float, decay: Any) -> None:
    """Between 0, which it never is, and 1, which it reaches."""
    schedule = Schedule(steps, warmup, decay)

    rates = [schedule(step) for step in range(steps)]

    top = rates.index(max(rates))
    assert max(rates) == 1
    assert min(rates) > 0
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if decay == "none":
        assert set(rates[top:]) == {1.0}
