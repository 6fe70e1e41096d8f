"""Types of the options of all commands, so that a wrong value is refused as it is read."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")
_LONGEST_NUMBER = 40
_MOST = 1e6
_MOST_WHOLE = 2**31 - 1
_MOST_SEED = 2**63 - 1


def whole(low: int, high: int = _MOST_WHOLE) -> Callable[[str], int]:
    """An integer of a range; no count of tokens, rows or passes needs more than the default."""
    return _checked(int, lambda value: low <= value <= high, f"an integer from {low} to {high}")


def number(allowed: str, accepts: Callable[[float], bool]) -> Callable[[str], float]:
    """A number of a range; neither NaN nor an infinity is one."""
    return _checked(float, lambda value: math.isfinite(value) and accepts(value), allowed)


def _checked(
    read: Callable[[str], Value], accepts: Callable[[Value], bool], allowed: str
) -> Callable[[str], Value]:
    def convert(text: str) -> Value:
        try:
            value = read(text[:_LONGEST_NUMBER])
        except ValueError:
            value = None
        if value is None or len(text) > _LONGEST_NUMBER or not accepts(value):
            msg = f"{text[:_LONGEST_NUMBER]!r} is not {allowed}"
            raise ArgumentTypeError(msg)
        return value

    return convert


def _text(given: str) -> str:
    """Text that is not empty."""
    if not given.strip():
        msg = "is empty; leave the option out, or give a text"
        raise ArgumentTypeError(msg)
    # It ends in files of JSON, and on the screen.
    if "\0" in given or not _is_unicode(given):
        msg = f"{given[:_LONGEST_NUMBER]!r} has bytes that are no text in UTF-8"
        raise ArgumentTypeError(msg)
    return given


def _is_unicode(given: str) -> bool:
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _path(given: str) -> Path:
    """A path; what is there is checked by :mod:`value_steer.cli.places`."""
    return Path(_text(given))


def _pattern(given: str) -> str:
    """A regular expression."""
    try:
        re.compile(_text(given))
    except (re.error, OverflowError, RecursionError) as error:
        msg = f"{given[:_LONGEST_NUMBER]!r} is no regular expression ({error})"
        raise ArgumentTypeError(msg) from error
    return given


def _url(given: str) -> str:
    """An address of HTTP."""
    try:
        parts = urlsplit(given)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        usable = False
    if not usable or not given.isprintable() or " " in given:
        msg = f"{given[:_LONGEST_NUMBER]!r} is no address such as http://localhost:8000/v1"
        raise ArgumentTypeError(msg)
    return given


def _version(given: str) -> str:
    shortened = given[:_LONGEST_NUMBER]
    try:
        Version(shortened)
        usable = shortened == given
    except InvalidVersion:
        usable = False
    if not usable:
        msg = f"{shortened!r} is no version; write a release (0.28.0), or a series where it will do"
        raise ArgumentTypeError(msg)
    return given


COUNT = whole(1)
FROM_ZERO = whole(0)
SEED = whole(0, _MOST_SEED)
"""A seed that numpy, torch and vLLM all take."""
SHARE = number("a number from 0 to 1", lambda value: 0 <= value <= 1)
PART = number("a number from 0 to below 1", lambda value: 0 <= value < 1)
LEVEL = number("a number between 0 and 1", lambda value: 0 < value < 1)
TOP_P = number("a number above 0, 1 at most", lambda value: 0 < value <= 1)
POSITIVE = number("a number above 0, 1e6 at most", lambda value: 0 < value <= _MOST)
NOT_NEGATIVE = number("a number from 0 to 1e6", lambda value: 0 <= value <= _MOST)
TEXT, PATH, PATTERN, URL, VERSION = _text, _path, _pattern, _url, _version
