"""The threshold of each mode: stated, calibrated, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from value_steer.config import AbstainSettings, RequestSettings, VfdSettings, parse_settings
from value_steer.errors import CalibrationError, SettingsError
from value_steer.operating_point import (
    resolve_abstain_threshold,
    resolve_vfd_request,
    resolve_vfd_threshold,
)
from value_steer.threshold import NEVER, Threshold
from value_steer.value_probe import CalibrationCurve, HeadCard, Polarity

HEAD = {"value_head_path": "head.safetensors"}
REWARD = CalibrationCurve("abstain_reward", ((0.2, 0.1), (0.6, 0.5)), n=100)
CURVE = CalibrationCurve("alpha", ((0.0, NEVER), (0.05, 0.9), (0.1, 0.7)), n=100)
CALIBRATED = HeadCard(hidden_size=8, scores=Polarity.P_UNDESIRABLE, threshold=0.6, curves=(CURVE,))
BARE = HeadCard(hidden_size=8)


def _abstain(**keys: object) -> AbstainSettings:
    abstain = parse_settings({"abstain": {**HEAD, **keys}}).abstain
    assert abstain is not None
    return abstain


@pytest.mark.parametrize(
    ("asked", "threshold"),
    [
        ({"threshold": 0.9}, 0.9),
        ({"threshold": 0.0}, 0.0),
        ({"threshold": NEVER}, NEVER),
        ({"abstain_reward": 0.4}, 0.3),
        ({}, 0.7),
    ],
)
def test_the_configuration_outranks_the_card(asked: dict[str, object], threshold: object) -> None:
    """Explicit threshold, then the curve of what is asked for, then the card's threshold."""
    card = HeadCard(hidden_size=8, threshold=0.7, curves=(REWARD,))
    settings = _abstain(**asked)

    assert resolve_abstain_threshold(settings, card) == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("asked", "curves", "message"),
    [
        ({"target_rate": 0.1}, (REWARD,), r"target_rate = 0\.1: .* \(it carries: abstain_reward\)"),
        ({"abstain_reward": 0.4}, (), r"abstain_reward = 0\.4: .* \(it carries: none\)"),
        (
            {"target_rate": 0.1},
            (REWARD, CURVE),
            r"target_rate = 0\.1: .* \(it carries: abstain_reward, alpha\)",
        ),
    ],
)
def test_a_missing_curve_says_which_ones_exist(
    asked: dict[str, object], curves: tuple[CalibrationCurve, ...], message: str
) -> None:
    """A rate cannot be had from a head that was calibrated for rewards."""
    card = HeadCard(hidden_size=8, threshold=0.7, curves=curves)

    with pytest.raises(CalibrationError, match=rf"^additional_config\.abstain\.{message}"):
        resolve_abstain_threshold(_abstain(**asked), card)


def test_no_threshold_anywhere_is_an_error() -> None:
    """There is no default threshold to abstain by."""
    settings = _abstain()

    with pytest.raises(SettingsError) as caught:
        resolve_abstain_threshold(settings, HeadCard(hidden_size=8))

    assert str(caught.value) == (
        "additional_config.abstain: no threshold; set threshold, abstain_reward or target_rate, "
        "or use a head whose sidecar has a calibrated threshold"
    )


@pytest.mark.parametrize(
    ("threshold", "alpha", "expected"),
    [
        (0.3, None, 0.3),
        (NEVER, None, NEVER),
        (None, 0.07, 0.9),
        (None, 0.0, NEVER),
        (None,) * 2 + (0.6,),
    ],
)
def test_the_engine_threshold_is_stated_or_calibrated(
    threshold: Threshold | None, alpha: float | None, expected: Threshold
) -> None:
    """A level takes the largest calibrated one that does not exceed it."""
    settings = VfdSettings(Path("head"), threshold=threshold, alpha=alpha)

    assert resolve_vfd_threshold(settings, CALIBRATED) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (RequestSettings(), 0.5),
        (RequestSettings(vfd_threshold=0.2), 0.2),
        (RequestSettings(vfd_threshold=NEVER), NEVER),
        (RequestSettings(vfd_alpha=0.1), 0.7),
    ],
)
def test_a_request_overrides_the_engine(own: RequestSettings, expected: Threshold) -> None:
    """Its own threshold or level counts; without either the engine's does."""
    assert resolve_vfd_request(own, 0.5, CALIBRATED) == expected


def test_a_level_without_calibration_is_refused() -> None:
    """The message names who asked for it."""
    with pytest.raises(CalibrationError, match=r"additional_config\.vfd\.alpha = 0\.1"):
        resolve_vfd_threshold(VfdSettings(Path("head"), alpha=0.1), BARE)
    with pytest.raises(CalibrationError, match=r"extra_args\.vfd_alpha = 0\.1"):
        resolve_vfd_request(RequestSettings(vfd_alpha=0.1), 0.5, BARE)


def test_no_threshold_at_all_is_refused() -> None:
    """Neither the configuration nor the head says where to object."""
    with pytest.raises(SettingsError) as caught:
        resolve_vfd_threshold(VfdSettings(Path("head")), BARE)

    assert str(caught.value) == (
        "additional_config.vfd: no threshold; set threshold or alpha, or use a head whose sidecar "
        "has a calibrated threshold"
    )
