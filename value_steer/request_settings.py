"""``extra_args`` of one request, parsed into frozen settings."""

from __future__ import annotations

import difflib
import functools
import itertools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from value_steer.errors import SettingsError
from value_steer.records.fields import (
    PROBABILITY,
    THRESHOLD,
    Field,
    as_text,
    conflicts,
    integer,
    listed,
    member_of,
    read,
    shown_key,
    whole_from,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.threshold import Threshold

logger = logging.getLogger("value_steer")

MOST_CANDIDATES = 256
"""No operator may allow more draws per token: each is a step of its request."""


class Trial(str, Enum):
    """An outcome that a request can force upon itself, so that an operator sees the path work."""

    ABSTAIN = "abstain"
    INTERVENE = "intervene"


class AbstainAction(str, Enum):
    """The action on a request once its value has crossed the threshold."""

    END = "end"
    END_THINKING = "end_thinking"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """The settings of a request, from ``extra_args`` or, over HTTP, ``vllm_xargs``.

    Attributes:
        steer: Off: the request is served as plain vLLM would.
        steer_head: Name of the head that scores it, in place of the engine's first one.
        abstain_threshold: Its own threshold, in place of the engine's.
        abstain_action: What happens when it crosses that, in place of the engine's action.
        vfd_threshold: Its own threshold, in place of the engine's.
        vfd_alpha: Its own false-alarm level, in place of the engine's threshold.
        vfd_num_candidates: Its own number of draws per token.
        steer_values: Whether its outcome holds the value of every token.
        steer_test: What is forced upon it: ``abstain`` ends it at the first token that may be
            judged, ``intervene`` refuses the first token that the model draws.
    """

    steer: bool = True
    steer_head: str | None = None
    abstain_threshold: Threshold | None = None
    abstain_action: AbstainAction | None = None
    vfd_threshold: Threshold | None = None
    vfd_alpha: float | None = None
    vfd_num_candidates: int | None = None
    steer_values: bool = False
    steer_test: Trial | None = None


def is_head_name(value: object) -> bool:
    """Whether a value can name a head: it goes into logs, metrics and answers."""
    return isinstance(value, str) and _HEAD_NAME.fullmatch(value) is not None


def parse_request(extra_args: Mapping[str, object] | None) -> RequestSettings:
    """Read the ``extra_args`` of one request; keys of other plug-ins are left alone.

    Numbers and flags are taken as text too, because that is how some clients send them.

    Raises:
        SettingsError: Lists every problem with its key, its value and what is allowed; a key that
            is nearly one of ours counts as a slip of it.
    """
    if not extra_args:
        return _DEFAULT_REQUEST
    _name_likely_slips(extra_args)
    own = {key: extra_args[key] for key in _REQUEST if key in extra_args}
    if _is_foreign(own.get("steer")):
        del own["steer"]
    problems = _slips(extra_args)
    if not own and not problems:
        return _DEFAULT_REQUEST
    values = read(own, _REQUEST, "extra_args", problems)
    problems += conflicts(own, "extra_args", ("vfd_threshold", "vfd_alpha"))
    if problems:
        raise SettingsError(listed(problems))
    return RequestSettings(**values)


def _is_foreign(steer: object) -> bool:
    """Whether a value of ``steer`` belongs to another plug-in, which gives it an object there."""
    return isinstance(steer, (Mapping, list)) or (
        isinstance(steer, str) and steer.lstrip().startswith(("{", "["))
    )


def _slips(extra_args: Mapping[str, object]) -> list[str]:
    """Keys that can only be misspelt ones of ours."""
    return [
        f"extra_args.{shown_key(key)}: unknown key; did you mean {meant[0]}?"
        for key in _others(extra_args)
        if (meant := _meant(key)) and key.startswith(_OWN_PREFIXES)
    ]


def _name_likely_slips(extra_args: Mapping[str, object]) -> None:
    """Say once of each key that it looks like one of ours; it may be another plug-in's."""
    for key in _others(extra_args):
        if len(_named) >= _MOST_NAMED:
            return
        is_refused = key.startswith(_OWN_PREFIXES) and _meant(key)
        if not is_refused and key not in _named and (meant := _meant(key) or _elsewhere(key)):
            _named.add(key)
            logger.warning(
                "extra_args.%s is no key of value-steer and is left alone; if it was meant for it, "
                "write %s",
                shown_key(key),
                " or ".join(meant),
            )


def _others(extra_args: Mapping[str, object]) -> Iterator[str]:
    keys = map(str, itertools.islice(extra_args, _MOST_KEYS))
    return (key for key in keys if key not in _REQUEST and len(key) <= _LONGEST_KEY)


@functools.lru_cache(maxsize=1024)  # the same few keys come with every request
def _meant(key: str) -> tuple[str, ...]:
    """The key of ours that is nearly written so, if there is one; also as camel case or dashed."""
    return (*difflib.get_close_matches(_plain(key), _NAMES, n=1, cutoff=0.85),)


@functools.lru_cache(maxsize=1024)
def _elsewhere(key: str) -> tuple[str, ...]:
    """The keys of ours that end as one with a word of ours before it does: ``steerThreshold``."""
    before, _, end = _plain(key).partition("_")
    is_ours = f"{before}_" in _OWN_PREFIXES
    return tuple(name for name in _NAMES if is_ours and end and name.partition("_")[2] == end)


def _plain(key: str) -> str:
    """A key as ours are written."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()


# A request crosses HTTP in a schema that knows text and numbers but no booleans.
_SWITCH: dict[object, bool] = {True: True, False: False}
_SWITCH |= dict.fromkeys(("true", "True", "1"), True)
_SWITCH |= dict.fromkeys(("false", "False", "0"), False)

_HEAD_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OWN_PREFIXES = ("abstain_", "vfd_", "steer_")
_MOST_KEYS = 100
_LONGEST_KEY = 40
"""A request may carry anything; what is no slip of a key of ours is not looked at longer."""
_MOST_NAMED = 20
_named: set[str] = set()
"""Keys that a warning has named; whoever sends others all the time does not fill a log."""
_DEFAULT_REQUEST = RequestSettings()

_FLAG = Field(
    lambda v: isinstance(v, (str, int, float)) and v in _SWITCH,
    "true or false",
    _SWITCH.__getitem__,
)
_REQUEST = {
    "steer": _FLAG,
    "steer_values": _FLAG,
    "steer_test": member_of(Trial),
    "steer_head": Field(is_head_name, "the name of a head of this engine"),
    "abstain_threshold": as_text(THRESHOLD, float),
    "abstain_action": member_of(AbstainAction),
    "vfd_threshold": as_text(THRESHOLD, float),
    "vfd_alpha": as_text(PROBABILITY, float),
    "vfd_num_candidates": as_text(whole_from(1, MOST_CANDIDATES), integer),
}
_NAMES = tuple(_REQUEST)
