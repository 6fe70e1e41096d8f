"""Tables that say, key by key, what a JSON object may hold, and the reader that applies them."""

from __future__ import annotations

import difflib
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from value_steer.threshold import ALLOWED, as_threshold, is_probability, is_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from enum import Enum

_MOST = 20
_LONGEST = 120
_LONGEST_NUMBER = 40
# It looks at no more of a value than it shows.
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = _LONGEST


@dataclass(frozen=True, slots=True)
class Field:
    """A key: the values it accepts, their description, and their conversion."""

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
            problems.append(f"{prefix}{shown_key(name)}: unknown key; {_instead(name, fields)}")
        elif not fields[name].accepts(value):
            problems.append(f"{prefix}{name} = {shown(value)}: must be {fields[name].allowed}")
        else:
            values[name] = fields[name].convert(value)
    missing = (name for name in required if name not in body)
    problems += [f"{prefix}{name}: missing; it is {fields[name].allowed}" for name in missing]
    return values


def listed(problems: Sequence[str]) -> str:
    """Problems for one message, a line each; of very many the first ones and their number."""
    more = len(problems) - _MOST
    rest = [f"and {more} more"] if more > 0 else []
    return "\n".join((*problems[:_MOST], *rest))


def shown(value: object) -> str:
    """A value for a message: what it is, on one line, and not longer than that."""
    if isinstance(value, int) and value.bit_length() > _LONGEST:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print the longest
    text = _REPR.repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


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


def whole_from(low: int, high: int | None = None) -> Field:
    """An integer from ``low`` to ``high``; ``None`` for no upper bound."""

    def accepts(value: object) -> bool:
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return is_integer and low <= value and (high is None or value <= high)  # type: ignore[operator]

    return Field(
        accepts, f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    )


def as_text(field: Field, number: Callable[[str | float], object]) -> Field:
    """The same field, whose value may also come as text, or as a float where it is an integer.

    Args:
        field: What is wanted.
        number: Reads it from text or a float.
    """

    def value_of(value: object) -> object:
        if field.accepts(value) or not isinstance(value, (str, float)):
            return value
        try:
            return number(value)
        except (ValueError, OverflowError):
            return value

    return Field(
        lambda value: field.accepts(value_of(value)),
        field.allowed,
        lambda value: field.convert(value_of(value)),
    )


def integer(value: str | float) -> int:
    """An integer from text or a float.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        return int(value)
    if isinstance(value, str) or not value.is_integer():
        msg = f"{shown(value)} is no integer"
        raise ValueError(msg)
    return int(value)


def conflicts(body: Mapping[str, object], at: str, keys: tuple[str, ...]) -> list[str]:
    """The problem that more than one of some keys is given; of them one at most may be.

    Args:
        body: An object.
        at: Its dotted place.
        keys: Those that exclude each other.
    """
    given = [key for key in keys if body.get(key) is not None]
    if len(given) < 2:
        return []
    return [f"{at}: {' and '.join(given)} exclude each other; keep one"]


def shown_key(name: object) -> str:
    """A key for a message: as it is if that is plain, else quoted and shortened."""
    text = str(name)
    return text if len(text) <= _LONGEST and text.isidentifier() else shown(name)


def _instead(name: object, fields: Mapping[str, Field]) -> str:
    close = difflib.get_close_matches(str(name)[:_LONGEST], fields, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed: {', '.join(fields)}"


FLAG = Field(lambda value: isinstance(value, bool), "true or false")
TEXT = Field(lambda value: isinstance(value, str), "text")
PROBABILITY = Field(is_probability, "a number from 0 to 1", float)
THRESHOLD = Field(is_threshold, ALLOWED, as_threshold)
