"""``additional_config`` and ``extra_args``, parsed once into frozen settings.

Every problem of a configuration is reported at once, each with its key, its value and what is
allowed there.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from value_steer.errors import SettingsError
from value_steer.records.fields import (
    FLAG,
    PROBABILITY,
    THRESHOLD,
    Field,
    conflicts,
    is_number,
    listed,
    member_of,
    optional,
    read,
    shown_key,
    whole_from,
)
from value_steer.request_settings import MOST_CANDIDATES, RequestSettings, parse_request
from value_steer.threshold import NEVER, Threshold
from value_steer.value_probe.card import Polarity

__all__ = [
    "NEVER",
    "AbstainSettings",
    "Fallback",
    "OnError",
    "RequestSettings",
    "SteerSettings",
    "Threshold",
    "VfdSettings",
    "is_disabled",
    "parse_request",
    "parse_settings",
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


class Fallback(str, Enum):
    """Which token is committed when none of the candidates is acceptable."""

    ARGMIN = "argmin"
    ARGS = "args"
    ABSTAIN = "abstain"
    NATURAL = "natural"


@dataclass(frozen=True, slots=True)
class VfdSettings:
    """The ``vfd`` section of ``additional_config``.

    Attributes:
        value_head_path: File of the head.
        threshold: A token is unacceptable when P(undesirable) after it is at or above this.
        alpha: The false-alarm level that the threshold follows from, through the head's
            calibration.
        num_candidates: Draws per token at most, the model's own included.
        max_candidates: What a request may ask for in place of that; ``None`` for 64, or
            ``num_candidates`` if that is more.
        fallback: What is committed when no candidate is acceptable.
        prob_weight: Weight of the token's probability in the ``args`` fallback.
        scores: What the head scores, where its card does not say or is wrong.
        on_error: What happens to a step whose decision fails.
        strict: Start-up warnings (an unstated polarity, a vLLM without evidence) are errors.
        enabled: Off: no token is filtered.
        single_stream: Accepted because other packages' configurations have it, and without effect:
            nothing has to be given up here for concurrent requests.
    """

    value_head_path: Path
    threshold: Threshold | None = None
    alpha: float | None = None
    num_candidates: int = 8
    max_candidates: int | None = None
    fallback: Fallback = Fallback.ARGMIN
    prob_weight: float = 1.0
    scores: Polarity | None = None
    on_error: OnError = OnError.RAISE
    strict: bool = False
    enabled: bool = True
    single_stream: bool = False

    @property
    def most_candidates(self) -> int:
        """What a request may ask for at most."""
        return self.max_candidates or max(_USUAL_CANDIDATES, self.num_candidates)


@dataclass(frozen=True, slots=True)
class SteerSettings:
    """All of value-steer's settings in one engine; a mode that is not configured is ``None``."""

    abstain: AbstainSettings | None = None
    vfd: VfdSettings | None = None


def parse_settings(additional_config: object) -> SteerSettings:
    """Read the engine's ``additional_config``.

    Keys of other plug-ins at the top level are left alone.

    Raises:
        SettingsError: Lists every problem with its key, its value and what is allowed.
    """
    if not isinstance(additional_config, Mapping):
        kind = type(additional_config).__name__
        msg = (
            f"additional_config must be an object with an 'abstain' or a 'vfd' section, got {kind}"
        )
        raise SettingsError(msg)
    problems = _section_problems(additional_config)
    values = {
        name: _section(additional_config[name], name, problems)
        for name in _SECTIONS
        if name in additional_config
    }
    _refuse(problems)
    return SteerSettings(
        abstain=AbstainSettings(**values["abstain"]) if "abstain" in values else None,
        vfd=VfdSettings(**values["vfd"]) if "vfd" in values else None,
    )


def is_disabled() -> bool:
    """Whether the operator has switched steering off for this process, whatever is configured.

    Raises:
        SettingsError: ``VALUE_STEER_DISABLE`` is neither on nor off.
    """
    text = os.environ.get(_DISABLE, "").strip().lower()
    if text not in _SWITCH:
        msg = f"{_DISABLE} = {text!r}: must be 1 to switch steering off, or 0 or empty"
        raise SettingsError(msg)
    return _SWITCH[text]


def _section_problems(config: Mapping[object, object]) -> list[str]:
    at = "additional_config"
    problems = []
    for key in config:
        close = difflib.get_close_matches(str(key)[:_LONGEST].lower(), _SECTIONS, n=1, cutoff=0.8)
        if close and key not in _SECTIONS:
            problems.append(f"{at}.{shown_key(key)}: unknown section; did you mean {close[0]}?")
    if not any(name in config for name in _SECTIONS):
        names = sorted(map(str, config))
        found = ", ".join(map(shown_key, names[:_SHOWN])) or "none"
        found += f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
        problems.append(
            f"{at} has no 'abstain' and no 'vfd' section, so nothing is steered; keys: {found}"
        )
    return problems


def _section(section: object, name: str, problems: list[str]) -> dict[str, Any]:
    at = f"additional_config.{name}"
    values = read(section, _SECTIONS[name], at, problems, ("value_head_path",))
    if isinstance(section, Mapping):
        problems += conflicts(section, at, _THRESHOLD_SOURCES)
    return values


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SettingsError(listed(problems))


_LONGEST = 40
_SHOWN = 20
_DISABLE = "VALUE_STEER_DISABLE"
_SWITCH = {"": False, "0": False, "false": False, "1": True, "true": True}
_THRESHOLD_SOURCES = ("threshold", "abstain_reward", "target_rate", "alpha")
_USUAL_CANDIDATES = 64

_COMMON = {
    "value_head_path": Field(
        lambda v: isinstance(v, (str, Path)) and str(v) != "",
        "the path of a .safetensors, .pt or .bin file",
        Path,
    ),
    "threshold": optional(THRESHOLD),
    "scores": optional(member_of(Polarity)),
    "on_error": member_of(OnError),
    "strict": FLAG,
    "enabled": FLAG,
}
_SECTIONS = {
    "abstain": {
        **_COMMON,
        "abstain_reward": optional(PROBABILITY),
        "target_rate": optional(PROBABILITY),
        "min_tokens": whole_from(0),
        "patience": whole_from(1),
    },
    "vfd": {
        **_COMMON,
        "alpha": optional(PROBABILITY),
        "num_candidates": whole_from(1, MOST_CANDIDATES),
        "max_candidates": optional(whole_from(1, MOST_CANDIDATES)),
        "fallback": member_of(Fallback),
        "prob_weight": Field(
            lambda v: is_number(v) and v >= 0,
            "a finite number >= 0",
            float,
        ),
        "single_stream": FLAG,
    },
}
