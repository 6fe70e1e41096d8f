"""``additional_config`` and ``extra_args``, parsed once into frozen settings.

Every problem of a configuration is reported at once, each with its key, its value and what is
allowed there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.errors import CalibrationError, SettingsError
from value_steer.fields import (
    FLAG,
    PROBABILITY,
    THRESHOLD,
    Field,
    member_of,
    optional,
    read,
    whole_from,
)
from value_steer.threshold import NEVER, Threshold
from value_steer.value_probe.card import Polarity

if TYPE_CHECKING:
    from value_steer.value_probe.card import HeadCard, Quantity

__all__ = [
    "NEVER",
    "AbstainSettings",
    "OnError",
    "RequestSettings",
    "SteerSettings",
    "Threshold",
    "parse_request",
    "parse_settings",
    "resolve_abstain_threshold",
]


class OnError(str, Enum):
    """What happens to a step whose decision fails."""

    RAISE = "raise"
    PASSTHROUGH = "passthrough"


@dataclass(frozen=True, slots=True)
class AbstainSettings:
    """The ``abstain`` section of ``additional_config``.

    Attributes:
        value_head_path: File of the head.
        threshold: Abstain when P(good) is below this.
        abstain_reward: What abstaining is worth, in units of the probability of being good; the
            threshold follows from the head's calibration.
        target_rate: Share of requests to abstain on, from the head's calibration.
        min_tokens: First response token that may be judged, counted from 1; 0 judges the last
            position of the prompt as well.
        patience: Consecutive judged tokens below the threshold before a request ends.
        scores: What the head scores, where its card does not say or is wrong.
        on_error: What happens to a step whose decision fails.
        strict: Start-up warnings (an unstated polarity, a vLLM without evidence) are errors.
        enabled: Off: the engine runs as plain vLLM.
    """

    value_head_path: Path
    threshold: Threshold | None = None
    abstain_reward: float | None = None
    target_rate: float | None = None
    min_tokens: int = 1
    patience: int = 1
    scores: Polarity | None = None
    on_error: OnError = OnError.RAISE
    strict: bool = False
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class SteerSettings:
    """All of value-steer's settings in one engine."""

    abstain: AbstainSettings


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """What one request asks for through ``extra_args`` or, over HTTP, ``vllm_xargs``.

    Attributes:
        steer: Off: the request is served as plain vLLM would.
        abstain_threshold: Its own threshold, in place of the engine's.
    """

    steer: bool = True
    abstain_threshold: Threshold | None = None


def parse_settings(additional_config: object) -> SteerSettings:
    """Read the engine's ``additional_config``.

    Keys of other plug-ins at the top level are left alone.

    Raises:
        SettingsError: Lists every problem with its key, its value and what is allowed.
    """
    if not isinstance(additional_config, Mapping):
        kind = type(additional_config).__name__
        msg = f"additional_config must be an object with an 'abstain' section, got {kind}"
        raise SettingsError(msg)
    problems = _section_problems(additional_config)
    at, section = "additional_config.abstain", additional_config.get("abstain", {})
    required = ("value_head_path",) if "abstain" in additional_config else ()
    values = read(section, _ABSTAIN, at, problems, required)
    if isinstance(section, Mapping):
        problems += _conflicts(section, at)
    _refuse(problems)
    return SteerSettings(AbstainSettings(**values))


def parse_request(extra_args: Mapping[str, object] | None) -> RequestSettings:
    """Read the ``extra_args`` of one request; keys of other plug-ins are left alone.

    Raises:
        SettingsError: Lists every problem with its key, its value and what is allowed.
    """
    if not extra_args:
        return _DEFAULT_REQUEST
    own = {key: extra_args[key] for key in extra_args if str(key).startswith(_OWN_PREFIXES)}
    if not own:
        return _DEFAULT_REQUEST
    problems: list[str] = []
    values = read(own, _REQUEST, "extra_args", problems)
    _refuse(problems)
    return RequestSettings(**values)


def resolve_abstain_threshold(settings: AbstainSettings, card: HeadCard) -> Threshold:
    """The threshold that applies: the configuration's own, else the head's calibrated one.

    Args:
        settings: The ``abstain`` section.
        card: Card of the head, in the polarity P(good).

    Raises:
        CalibrationError: The head has no calibration for the quantity that is asked for.
        SettingsError: Neither the configuration nor the head gives a threshold.
    """
    if settings.threshold is not None:
        return settings.threshold
    if settings.abstain_reward is not None:
        return _calibrated(card, "abstain_reward", settings.abstain_reward)
    if settings.target_rate is not None:
        return _calibrated(card, "target_rate", settings.target_rate)
    if card.threshold is not None:
        return card.threshold
    msg = (
        "additional_config.abstain: no threshold; set threshold, abstain_reward or target_rate, "
        "or use a head whose sidecar has a calibrated threshold"
    )
    raise SettingsError(msg)


def _calibrated(card: HeadCard, quantity: Quantity, asked: float) -> Threshold:
    curve = card.curve(quantity)
    if curve is None:
        known = ", ".join(c.quantity for c in card.curves) or "none"
        msg = (
            f"additional_config.abstain.{quantity} = {asked}: the head carries no calibration "
            f"of {quantity} (it carries: {known}); recalibrate it or set threshold"
        )
        raise CalibrationError(msg)
    return curve.resolve(asked)


def _section_problems(config: Mapping[object, object]) -> list[str]:
    at = "additional_config"
    problems = []
    for key in config:
        close = difflib.get_close_matches(str(key).lower(), _SECTIONS, n=1, cutoff=0.8)
        if close and key not in _SECTIONS:
            problems.append(f"{at}.{key}: unknown section; did you mean {close[0]}?")
    if "vfd" in config:
        problems.append(
            f"{at}.vfd: value-filtered decoding is not part of this release, only abstention is; "
            "remove the section and configure 'abstain'"
        )
    if "abstain" not in config:
        found = ", ".join(sorted(map(str, config))) or "none"
        problems.append(f"{at} has no 'abstain' section, so nothing is steered; keys: {found}")
    return problems


def _conflicts(section: Mapping[object, object], at: str) -> list[str]:
    sources = [key for key in _THRESHOLD_SOURCES if section.get(key) is not None]
    if len(sources) < 2:
        return []
    return [f"{at}: {' and '.join(sources)} exclude each other; keep one"]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SettingsError("\n".join(problems))


# A request crosses HTTP in a schema that knows text and numbers but no booleans.
_SWITCH: dict[object, bool] = {True: True, False: False, "true": True, "false": False}

_SECTIONS = ("abstain", "vfd")
_THRESHOLD_SOURCES = ("threshold", "abstain_reward", "target_rate")
_OWN_PREFIXES = ("abstain_", "vfd_", "steer")
_DEFAULT_REQUEST = RequestSettings()

_ABSTAIN = {
    "value_head_path": Field(
        lambda v: isinstance(v, (str, Path)) and str(v) != "",
        "the path of a .safetensors, .pt or .bin file",
        Path,
    ),
    "threshold": optional(THRESHOLD),
    "abstain_reward": optional(PROBABILITY),
    "target_rate": optional(PROBABILITY),
    "min_tokens": whole_from(0),
    "patience": whole_from(1),
    "scores": optional(member_of(Polarity)),
    "on_error": member_of(OnError),
    "strict": FLAG,
    "enabled": FLAG,
}
_REQUEST = {
    "steer": Field(
        lambda v: isinstance(v, (str, int, float)) and v in _SWITCH,
        "true or false",
        _SWITCH.__getitem__,
    ),
    "abstain_threshold": THRESHOLD,
}
