"""The threshold that applies: stated, or resolved through the head's calibration."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from value_steer.errors import CalibrationError, SettingsError

if TYPE_CHECKING:
    from value_steer.config import AbstainSettings, RequestSettings, VfdSettings
    from value_steer.threshold import Threshold
    from value_steer.value_probe.card import HeadCard, Quantity
    from value_steer.value_probe.fingerprint import SettingsFingerprint

logger = logging.getLogger("value_steer")


def resolve_abstain_threshold(
    settings: AbstainSettings, card: HeadCard, section: str = "abstain"
) -> Threshold:
    """The threshold that applies: the configuration's own, else the head's calibrated one.

    Args:
        settings: The ``abstain`` section, or that of a named head.
        card: Card of the head, in the polarity P(good).
        section: Where the settings stand in ``additional_config``, for messages.

    Raises:
        CalibrationError: The head has no calibration for the quantity that is asked for.
        SettingsError: Neither the configuration nor the head gives a threshold.
    """
    at = f"additional_config.{section}."
    if settings.threshold is not None:
        return settings.threshold
    if settings.abstain_reward is not None:
        return _calibrated(card, "abstain_reward", settings.abstain_reward, at)
    if settings.target_rate is not None:
        return _calibrated(card, "target_rate", settings.target_rate, at)
    if card.threshold is not None:
        return card.threshold
    msg = (
        f"additional_config.{section}: no threshold; set threshold, abstain_reward or target_rate, "
        "or use a head whose sidecar has a calibrated threshold"
    )
    raise SettingsError(msg)


def resolve_vfd_threshold(settings: VfdSettings, card: HeadCard, section: str = "vfd") -> Threshold:
    """The threshold that applies: the configuration's own, else the head's calibrated one.

    Args:
        settings: The ``vfd`` section, or that of a named head.
        card: Card of the head, in the polarity P(undesirable).
        section: Where the settings stand in ``additional_config``, for messages.

    Raises:
        CalibrationError: The head has no calibration of ``alpha``, which is asked for.
        SettingsError: Neither the configuration nor the head gives a threshold.
    """
    if settings.threshold is not None:
        return settings.threshold
    if settings.alpha is not None:
        return _calibrated(card, "alpha", settings.alpha, f"additional_config.{section}.")
    if card.threshold is not None:
        return card.threshold
    msg = (
        f"additional_config.{section}: no threshold; set threshold or alpha, or use a head whose "
        "sidecar has a calibrated threshold"
    )
    raise SettingsError(msg)


def resolve_vfd_request(own: RequestSettings, default: Threshold, card: HeadCard) -> Threshold:
    """The threshold of one request: its own if it states one, else the engine's.

    Raises:
        CalibrationError: The head has no calibration of ``alpha``, which is asked for.
    """
    if own.vfd_alpha is not None:
        return _calibrated(card, "alpha", own.vfd_alpha, "extra_args.vfd_")
    return default if own.vfd_threshold is None else own.vfd_threshold


def check_settings(
    card: HeadCard, serving: SettingsFingerprint, at: str, *, strict: bool
) -> tuple[str, ...]:
    """Compare what the head's curves were calibrated with to what serves.

    Args:
        card: Card of the head.
        serving: What the engine knows of itself: model, dtype and engine. What a request decides
            (sampling, length, template) is left out, and is the caller's to keep.
        at: Dotted place of the section of the configuration, for messages.
        strict: Whether a difference is refused rather than logged.

    Returns:
        The differences, one line each.

    Raises:
        CalibrationError: There are some, and ``strict`` is set.
    """
    known = [curve.settings for curve in card.curves if curve.settings is not None]
    lines = [line for settings in known for line in settings.differences(serving)]
    differences = tuple(dict.fromkeys(lines))
    if differences:
        msg = (
            f"{at}: the head's calibration was made under other settings and its guarantee may not "
            f"hold here: {'; '.join(differences)}; recalibrate the head for what is served"
        )
        if strict:
            raise CalibrationError(msg)
        logger.warning("%s", msg)
    return differences


def _calibrated(card: HeadCard, quantity: Quantity, asked: float, at: str) -> Threshold:
    curve = card.curve(quantity)
    if curve is None:
        known = ", ".join(c.quantity for c in card.curves) or "none"
        msg = (
            f"{at}{quantity} = {asked}: the head carries no calibration "
            f"of {quantity} (it carries: {known}); recalibrate it or set threshold"
        )
        raise CalibrationError(msg)
    return curve.resolve(asked)
