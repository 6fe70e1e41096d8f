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
from typing import TYPE_CHECKING, Any

from value_steer.errors import CalibrationError, SettingsError
from value_steer.threshold import ALLOWED, NEVER, Threshold, is_number, is_threshold
from value_steer.value_probe.card import Polarity

if TYPE_CHECKING:
    from collections.abc import Callable

    from value_steer.value_probe.card import HeadCard

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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class SteerSettings:
    """All of value-steer's settings in one engine."""

    abstain: AbstainSettings


@dataclass(frozen=True)
class RequestSettings:
    """What one request asks for through ``extra_args`` or, over HTTP, ``vllm_xargs``.

    Attributes:
        steer: Off: the request is served as plain vLLM would.
        abstain_threshold: Its own threshold, in place of the engine's.
    """

    steer: bool = True
    abstain_threshold: Threshold | None = None


@dataclass(frozen=True)
class _Key:
    """How one key is read: what is accepted, how to say so, and what becomes of it."""

    accepts: Callable[[Any], bool]
    allowed: str
    convert: Callable[[Any], Any] = lambda value: value


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
    section = additional_config.get("abstain")
    if isinstance(section, Mapping):
        problems += _key_problems(section, _ABSTAIN, "additional_config.abstain.")
        problems += _abstain_problems(section)
    if problems:
        raise SettingsError("\n".join(problems))
    values = {key: _ABSTAIN[key].convert(value) for key, value in section.items()}  # type: ignore[union-attr]
    return SteerSettings(AbstainSettings(**values))


def parse_request(extra_args: Mapping[str, object] | None) -> RequestSettings:
    """Read the ``extra_args`` of one request; keys of other plug-ins are left alone.

    Raises:
        SettingsError: Lists every problem with its key, its value and what is allowed.
    """
    if not extra_args:
        return _DEFAULT_REQUEST
    own = {key: extra_args[key] for key in extra_args if key.startswith(_OWN_PREFIXES)}
    problems = _key_problems(own, _REQUEST, "extra_args.")
    if problems:
        raise SettingsError("\n".join(problems))
    return RequestSettings(**{key: _REQUEST[key].convert(value) for key, value in own.items()})


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
    for quantity in ("abstain_reward", "target_rate"):
        asked = getattr(settings, quantity)
        if asked is None:
            continue
        curve = card.curve(quantity)
        if curve is None:
            known = ", ".join(c.quantity for c in card.curves) or "none"
            msg = (
                f"additional_config.abstain.{quantity} = {asked}: the head carries no calibration "
                f"of {quantity} (it carries: {known}); recalibrate it or set threshold"
            )
            raise CalibrationError(msg)
        return curve.resolve(asked)
    if card.threshold is not None:
        return card.threshold
    msg = (
        "additional_config.abstain: no threshold; set threshold, abstain_reward or target_rate, "
        "or use a head whose sidecar has a calibrated threshold"
    )
    raise SettingsError(msg)


def _section_problems(config: Mapping[str, object]) -> list[str]:
    if "vfd" in config:
        return [
            "additional_config.vfd: value-filtered decoding is not part of this release; "
            "remove the section and configure 'abstain'"
        ]
    if "abstain" not in config:
        found = ", ".join(sorted(map(str, config))) or "none"
        return [f"additional_config has no 'abstain' section, so nothing is steered; keys: {found}"]
    if not isinstance(config["abstain"], Mapping):
        return [f"additional_config.abstain = {config['abstain']!r}: must be an object"]
    others = [str(key) for key in config if key != "abstain"]
    slips = [key for key in others if difflib.get_close_matches(key, _SECTIONS, cutoff=0.6)]
    return [f"additional_config.{key}: unknown section; did you mean 'abstain'?" for key in slips]


def _abstain_problems(section: Mapping[str, object]) -> list[str]:
    problems = []
    if "value_head_path" not in section:
        problems.append("additional_config.abstain.value_head_path is missing: the head's file")
    sources = [key for key in _THRESHOLD_SOURCES if section.get(key) is not None]
    if len(sources) > 1:
        named = " and ".join(sources)
        problems.append(f"additional_config.abstain: {named} exclude each other; keep one")
    return problems


def _key_problems(section: Mapping[str, object], keys: Mapping[str, _Key], at: str) -> list[str]:
    problems = []
    for name, value in section.items():
        if name not in keys:
            close = difflib.get_close_matches(str(name), keys, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            problems.append(f"{at}{name}: unknown key; {hint}allowed: {', '.join(keys)}")
        elif not keys[name].accepts(value):
            problems.append(f"{at}{name} = {value!r}: must be {keys[name].allowed}")
    return problems


def _optional(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or accepts(value)


def _whole_from(low: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= low


def _one_of(choices: type[Enum]) -> Callable[[Any], bool]:
    values = [choice.value for choice in choices]
    return lambda value: isinstance(value, str) and value in values


def _probability(value: object) -> bool:
    return is_number(value, 0.0, 1.0)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _path(value: object) -> bool:
    return isinstance(value, (str, Path)) and str(value) != ""


# A switch crosses HTTP in a schema that knows text and numbers but no booleans.
_SWITCH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}

_SECTIONS = ("abstain", "vfd")
_THRESHOLD_SOURCES = ("threshold", "abstain_reward", "target_rate")
_OWN_PREFIXES = ("abstain_", "vfd_", "steer")
_DEFAULT_REQUEST = RequestSettings()

_ABSTAIN = {
    "value_head_path": _Key(_path, "the path of a .safetensors, .pt or .bin file", Path),
    "threshold": _Key(_optional(is_threshold), ALLOWED),
    "abstain_reward": _Key(_optional(_probability), "a number from 0 to 1"),
    "target_rate": _Key(_optional(_probability), "a number from 0 to 1"),
    "min_tokens": _Key(_whole_from(0), "a whole number from 0 on"),
    "patience": _Key(_whole_from(1), "a whole number from 1 on"),
    "scores": _Key(
        _optional(_one_of(Polarity)), '"p_good" or "p_undesirable"', lambda v: v and Polarity(v)
    ),
    "on_error": _Key(_one_of(OnError), '"raise" or "passthrough"', OnError),
    "strict": _Key(_flag, "true or false"),
    "enabled": _Key(_flag, "true or false"),
}
_REQUEST = {
    "steer": _Key(
        lambda v: isinstance(v, (str, int, float)) and str(v).lower() in _SWITCH,
        "true or false",
        lambda v: _SWITCH[str(v).lower()],
    ),
    "abstain_threshold": _Key(is_threshold, ALLOWED),
}
