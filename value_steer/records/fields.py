"""Tables that say, key by key, what a JSON object may hold, and the reader that applies them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from value_steer.threshold import ALLOWED, as_threshold, is_probability, is_threshold

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import Enum


@dataclass(frozen=True, slots=True)
class Field:
    """What one key accepts, how to say so, and what becomes of its value."""

    accepts: Callable[[Any], bool]
    allowed: str
    convert: Callable[[Any], object] = lambda value: value


def read(
    body: object,
    fields: Mapping[str, Field],
    at: str,
    problems: list[str],
    required: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The good values of an object, converted.

    Args:
        body: What was parsed from JSON.
        fields: The keys that may occur.
        at: Dotted place of the object, empty for the outermost.
        problems: Gains a line for all that is wrong.
        required: The keys that must occur.
    """
    if not isinstance(body, Mapping):
        problems.append(f"{at or 'the whole'} = {shown(body)}: must be an object")
        return {}
    prefix = f"{at}." if at else ""
    values = {}
    for name, value in body.items():
        if name not in fields:
            problems.append(f"{prefix}{name}: unknown key; {_instead(name, fields)}")
        elif not fields[name].accepts(value):
            problems.append(f"{prefix}{name} = {shown(value)}: must be {fields[name].allowed}")
        else:
            values[name] = fields[name].convert(value)
    missing = (name for name in required if name not in body)
    problems += [f"{prefix}{name}: missing; it is {fields[name].allowed}" for name in missing]
    return values


def shown(value: object) -> str:
    """A value for a message of one line: the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def is_number(value: object) -> bool:
    """Whether ``value`` is a number that a float can hold; a bool, a NaN or an infinity is not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max


def optional(field: Field) -> Field:
    """The same key, which may also be null."""
    return Field(
        lambda value: value is None or field.accepts(value),
        f"{field.allowed}, or null",
        lambda value: None if value is None else field.convert(value),
    )


def one_of(*choices: str) -> Field:
    """One of a few words."""
    return Field(lambda value: value in choices, " or ".join(f'"{word}"' for word in choices))


def member_of(choices: type[Enum]) -> Field:
    """A member of an enum, by its value."""
    words = one_of(*(choice.value for choice in choices))
    return Field(words.accepts, words.allowed, choices)


def whole_from(low: int) -> Field:
    """A whole number that is not below ``low``."""
    return Field(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= low,
        f"a whole number from {low} on",
    )


def _instead(name: object, fields: Mapping[str, Field]) -> str:
    close = difflib.get_close_matches(str(name), fields, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed: {', '.join(fields)}"


_LONGEST_SHOWN = 120

FLAG = Field(lambda value: isinstance(value, bool), "true or false")
TEXT = Field(lambda value: isinstance(value, str), "text")
PROBABILITY = Field(is_probability, "a number from 0 to 1", float)
THRESHOLD = Field(is_threshold, ALLOWED, as_threshold)
