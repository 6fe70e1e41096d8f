"""``additional_config`` and ``extra_args``, parsed once into frozen settings.

Every problem of a configuration is reported at once, each with its key, its value and what is
allowed there.
"""

from __future__ import annotations

import difflib
import itertools
import math
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
    as_text,
    integer,
    listed,
    member_of,
    optional,
    read,
    whole_from,
)
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


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """What one request asks for through ``extra_args`` or, over HTTP, ``vllm_xargs``.

    Attributes:
        steer: Off: the request is served as plain vLLM would.
        abstain_threshold: Its own threshold, in place of the engine's.
        vfd_threshold: Its own threshold, in place of the engine's.
        vfd_alpha: Its own false-alarm level, in place of the engine's threshold.
        vfd_num_candidates: Its own number of draws per token.
    """

    steer: bool = True
    abstain_threshold: Threshold | None = None
    vfd_threshold: Threshold | None = None
    vfd_alpha: float | None = None
    vfd_num_candidates: int | None = None


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


def parse_request(extra_args: Mapping[str, object] | None) -> RequestSettings:
    """Read the ``extra_args`` of one request; keys of other plug-ins are left alone.

    Numbers and flags are taken as text too, because that is how some clients send them.

    Raises:
        SettingsError: Lists every problem with its key, its value and what is allowed; a key that
            is nearly one of ours counts as a slip of it.
    """
    if not extra_args:
        return _DEFAULT_REQUEST
    own = {key: extra_args[key] for key in _REQUEST if key in extra_args}
    if _is_foreign(own.get("steer")):
        del own["steer"]
    problems = _slips(extra_args)
    if not own and not problems:
        return _DEFAULT_REQUEST
    values = read(own, _REQUEST, "extra_args", problems)
    problems += _conflicts(own, "extra_args", ("vfd_threshold", "vfd_alpha"))
    _refuse(problems)
    return RequestSettings(**values)


def _is_foreign(steer: object) -> bool:
    """Whether a value of ``steer`` belongs to another plug-in, which gives it an object there."""
    return isinstance(steer, (Mapping, list)) or (
        isinstance(steer, str) and steer.lstrip().startswith(("{", "["))
    )


def _slips(extra_args: Mapping[str, object]) -> list[str]:
    """Keys that can only be misspelt ones of ours."""
    problems = []
    for key in itertools.islice(extra_args, _MOST_KEYS):
        if not isinstance(key, str) or key in _REQUEST or len(key) > _LONGEST_KEY:
            continue
        close = difflib.get_close_matches(key, _NAMES, n=1, cutoff=0.85)
        if close and key.startswith(_OWN_PREFIXES):
            problems.append(f"extra_args.{key}: unknown key; did you mean {close[0]}?")
    return problems


def _section_problems(config: Mapping[object, object]) -> list[str]:
    at = "additional_config"
    problems = []
    for key in config:
        close = difflib.get_close_matches(str(key).lower(), _SECTIONS, n=1, cutoff=0.8)
        if close and key not in _SECTIONS:
            problems.append(f"{at}.{key}: unknown section; did you mean {close[0]}?")
    if not any(name in config for name in _SECTIONS):
        found = ", ".join(sorted(map(str, config))) or "none"
        problems.append(
            f"{at} has no 'abstain' and no 'vfd' section, so nothing is steered; keys: {found}"
        )
    return problems


def _section(section: object, name: str, problems: list[str]) -> dict[str, Any]:
    at = f"additional_config.{name}"
    values = read(section, _SECTIONS[name], at, problems, ("value_head_path",))
    if isinstance(section, Mapping):
        problems += _conflicts(section, at, _THRESHOLD_SOURCES)
    return values


def _conflicts(section: Mapping[str, object], at: str, sources: tuple[str, ...]) -> list[str]:
    given = [key for key in sources if section.get(key) is not None]
    if len(given) < 2:
        return []
    return [f"{at}: {' and '.join(given)} exclude each other; keep one"]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SettingsError(listed(problems))


# A request crosses HTTP in a schema that knows text and numbers but no booleans.
_SWITCH: dict[object, bool] = {True: True, False: False}
_SWITCH |= dict.fromkeys(("true", "True", "1"), True)
_SWITCH |= dict.fromkeys(("false", "False", "0"), False)

_THRESHOLD_SOURCES = ("threshold", "abstain_reward", "target_rate", "alpha")
_OWN_PREFIXES = ("abstain_", "vfd_")
_MOST_KEYS = 100
_LONGEST_KEY = 40
"""A request may carry anything; what is no slip of a key of ours is not looked at longer."""

MOST_CANDIDATES = 256
"""No operator may allow more draws per token: each is a step of its request."""

_USUAL_CANDIDATES = 64
_DEFAULT_REQUEST = RequestSettings()

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
            lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v < math.inf,
            "a number from 0 on",
            float,
        ),
        "single_stream": FLAG,
    },
}
_REQUEST = {
    "steer": Field(
        lambda v: isinstance(v, (str, int, float)) and v in _SWITCH,
        "true or false",
        _SWITCH.__getitem__,
    ),
    "abstain_threshold": as_text(THRESHOLD, float),
    "vfd_threshold": as_text(THRESHOLD, float),
    "vfd_alpha": as_text(PROBABILITY, float),
    "vfd_num_candidates": as_text(whole_from(1, MOST_CANDIDATES), integer),
}
_NAMES = tuple(_REQUEST)
