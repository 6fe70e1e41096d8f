"""``additional_config`` and ``extra_args``, parsed once into frozen settings.

Every problem of a configuration is reported at once, each with its key, its value and what is
allowed there.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from value_steer.engine_settings import (
    AbstainSettings,
    Fallback,
    OnError,
    RecordSettings,
    SteerSettings,
    VfdSettings,
)
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
from value_steer.request_settings import (
    MOST_CANDIDATES,
    AbstainAction,
    RequestSettings,
    is_head_name,
    parse_request,
)
from value_steer.threshold import NEVER, Threshold, is_probability
from value_steer.value_probe.card import Polarity

__all__ = [
    "NEVER",
    "AbstainAction",
    "AbstainSettings",
    "Fallback",
    "OnError",
    "RecordSettings",
    "RequestSettings",
    "SteerSettings",
    "Threshold",
    "VfdSettings",
    "is_disabled",
    "parse_request",
    "parse_settings",
]


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
    record = _record(additional_config, problems)
    _refuse(problems)
    return SteerSettings(
        abstain=_built(AbstainSettings, values["abstain"]) if "abstain" in values else None,
        vfd=_built(VfdSettings, values["vfd"]) if "vfd" in values else None,
        record=None if record is None else RecordSettings(**record),
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
        # Other plug-ins may well have a word like it, so what it holds has to look like ours too.
        elif key != _RECORD and _is_like_record(str(key), config[key]):
            problems.append(f"{at}.{shown_key(key)}: unknown section; did you mean {_RECORD}?")
    if not any(name in config for name in _SECTIONS):
        names = sorted(map(str, config))
        found = ", ".join(map(shown_key, names[:_SHOWN])) or "none"
        found += f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
        problems.append(
            f"{at} has no 'abstain' and no 'vfd' section, so nothing is steered; keys: {found}"
        )
    return problems


def _is_like_record(key: str, section: object) -> bool:
    close = difflib.get_close_matches(key[:_LONGEST].lower(), (_RECORD,), n=1, cutoff=0.8)
    return bool(close) and isinstance(section, Mapping) and "share" in section


def _record(config: Mapping[object, object], problems: list[str]) -> dict[str, Any] | None:
    if _RECORD not in config:
        return None
    at = f"additional_config.{_RECORD}"
    return read(config[_RECORD], _RECORD_FIELDS, at, problems, ("directory", "share"))


def _section(section: object, name: str, problems: list[str]) -> dict[str, Any]:
    at = f"additional_config.{name}"
    values = _head(section, _SECTIONS[name], at, problems)
    own = {key: _SECTIONS[name][key] for key in _OF_A_HEAD if key in _SECTIONS[name]}
    values["heads"] = {
        head: _head(named, own, f"{at}.heads.{shown_key(head)}", problems)
        for head, named in values.get("heads", {}).items()
    }
    if values.get("action") is AbstainAction.MESSAGE and values.get("message") is None:
        problems.append(f'{at}.message: missing; the action "message" gives it out')
    return values


def _head(
    section: object, fields: Mapping[str, Field], at: str, problems: list[str]
) -> dict[str, Any]:
    """The values of a section that states a head."""
    values = read(section, fields, at, problems, ("value_head_path",))
    if isinstance(section, Mapping):
        problems += conflicts(section, at, _THRESHOLD_SOURCES)
    return values


def _built(kind: type[_Section], values: dict[str, Any]) -> _Section:
    """A section's settings; each of its named heads has all that it does not state from it."""
    named = values.pop("heads")
    settings = kind(**values)
    own = dict.fromkeys(key for key in _THRESHOLD_SOURCES if hasattr(settings, key))
    heads = {name: replace(settings, scores=None, **own | head) for name, head in named.items()}
    return replace(settings, heads=heads)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SettingsError(listed(problems))


_RECORD = "record"
_LONGEST = 40
_SHOWN = 20
_DISABLE = "VALUE_STEER_DISABLE"
_SWITCH = {"": False, "0": False, "false": False, "1": True, "true": True}
_Section = TypeVar("_Section", AbstainSettings, VfdSettings)
_THRESHOLD_SOURCES = ("threshold", "abstain_reward", "target_rate", "alpha")
_OF_A_HEAD = ("value_head_path", "scores", *_THRESHOLD_SOURCES)
_LONGEST_TEXT = 4000
_MOST_HEADS = 16
_LEAST_BYTES = 1 << 16
"""A file of recorded traffic must have room for its header and a long answer."""

_TEXT = Field(
    lambda v: isinstance(v, str) and 0 < len(v) <= _LONGEST_TEXT,
    f"a text of 1 to {_LONGEST_TEXT} characters",
)
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
    "heads": Field(
        lambda v: isinstance(v, Mapping) and len(v) <= _MOST_HEADS and all(map(is_head_name, v)),
        f"an object of at most {_MOST_HEADS} heads; a name has 1 to 64 letters, digits and ._-",
        dict,
    ),
}
_SECTIONS = {
    "abstain": {
        **_COMMON,
        "abstain_reward": optional(PROBABILITY),
        "target_rate": optional(PROBABILITY),
        "min_tokens": whole_from(0),
        "patience": whole_from(1),
        "action": member_of(AbstainAction),
        "message": optional(_TEXT),
        "reasoning_start_token": optional(_TEXT),
        "reasoning_end_token": _TEXT,
        "reasoning_end_str": optional(_TEXT),
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
_RECORD_FIELDS = {
    "directory": Field(
        lambda v: isinstance(v, (str, Path)) and str(v) != "" and "\0" not in str(v),
        "the path of a folder",
        Path,
    ),
    "share": Field(lambda v: is_probability(v) and v > 0, "a number above 0, 1 at most", float),
    "max_bytes": whole_from(_LEAST_BYTES),
}
