"""A calibration remembers how its responses were generated."""

from __future__ import annotations

import json
import logging

import pytest

from value_steer.errors import CalibrationError, CheckpointError
from value_steer.operating_point import check_settings
from value_steer.value_probe import (
    CalibrationCurve,
    HeadCard,
    Polarity,
    SettingsFingerprint,
    card_json,
    oriented,
)
from value_steer.value_probe.head import ValueHead

SETTINGS = SettingsFingerprint(
    model="some/model",
    chat_template="none",
    temperature=1.0,
    top_p=0.9,
    top_k=0,
    min_p=0.0,
    max_tokens=400,
    dtype="bfloat16",
    engine="vllm 0.28.0",
)
CURVE = CalibrationCurve("alpha", ((0.1, 0.9),), n=40, settings=SETTINGS)
OTHER = CalibrationCurve("alpha", ((0.1, 0.8),), n=20, group="de", settings=SETTINGS)
CARD = HeadCard(8, scores=Polarity.P_UNDESIRABLE, curves=(CURVE, OTHER))


def test_settings_and_groups_are_kept_with_the_curve() -> None:
    """Through JSON, and through a turn of the polarity."""
    card = card_json.loads(card_json.dumps(CARD), "x")
    head = ValueHead(8)
    head.card = card

    turned = oriented(head, Polarity.P_GOOD).head.card

    assert card == CARD
    assert card.curve("alpha") == CURVE
    assert card.curve("alpha", "de") == OTHER
    assert card.curve("alpha", "fr") is None
    assert [curve.settings for curve in turned.curves] == [SETTINGS, SETTINGS]
    assert [curve.group for curve in turned.curves] == [None, "de"]


def test_only_what_both_sides_know_is_compared() -> None:
    """A worker knows neither sampling nor length."""
    serving = SettingsFingerprint(model="some/model", dtype="float16", engine="vllm 0.28.0")

    assert SETTINGS.differences(serving) == ("dtype: calibrated with bfloat16, serving float16",)
    assert SettingsFingerprint().differences(SETTINGS) == ()


def test_a_difference_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Each is named once, however many curves there are."""
    serving = SettingsFingerprint(model="other", dtype="bfloat16", engine="vllm 0.29.0")

    with caplog.at_level(logging.WARNING, "value_steer"):
        differences = check_settings(CARD, serving, "additional_config.vfd", strict=False)

    assert [line.split(":")[0] for line in differences] == ["model", "engine"]
    (message,) = caplog.messages
    assert message == (
        "additional_config.vfd: the head's calibration was made under other settings and its "
        f"guarantee may not hold here: {'; '.join(differences)}; recalibrate the head for what is "
        "served"
    )
    assert differences[0].startswith("model: calibrated with some/model, serving other")


def test_strict_refuses_a_difference() -> None:
    """The guarantee was asked for, and may not hold."""
    with pytest.raises(CalibrationError, match=r"engine: calibrated with vllm 0\.28\.0, serving x"):
        check_settings(CARD, SettingsFingerprint(engine="x"), "vfd", strict=True)


@pytest.mark.parametrize("card", [CARD, HeadCard(8), HeadCard(8, curves=(CalibrationCurve(
    "alpha", ((0.1, 0.9),), n=40),))])  # fmt: skip
def test_no_difference_says_nothing(card: HeadCard, caplog: pytest.LogCaptureFixture) -> None:
    """Nor does a head that carries no settings."""
    serving = SettingsFingerprint(model="some/model", dtype="bfloat16", engine="vllm 0.28.0")

    assert check_settings(card, serving, "vfd", strict=True) == ()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temprature": 1}, "curves[0].settings.temprature: unknown key; did you mean temperature"),
        ({"top_p": 2}, "curves[0].settings.top_p = 2"),
        ({"max_tokens": 0}, "curves[0].settings.max_tokens = 0"),
        ([], "curves[0].settings = []: must be an object"),
    ],
)
def test_wrong_settings_are_named(settings: object, said: str) -> None:
    """Strictly, as all of the card."""
    curve = {"quantity": "alpha", "points": [[0.1, 0.5]], "n": 4, "settings": settings}

    with pytest.raises(CheckpointError) as caught:
        card_json.loads(json.dumps({"hidden_size": 8, "curves": [curve]}), "x")

    assert said in str(caught.value)
