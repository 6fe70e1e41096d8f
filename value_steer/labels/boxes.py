r"""The last ``\boxed{...}`` of a response, and whether all of an answer stands in it.

A sign, a factor or a power beside the box belongs to the answer as well, and two boxes with nothing
but *and* between them are two parts of one answer: then what is in the box is a fragment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from value_steer.labels.numerals import LONGEST

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_NEAR = 80
"""Characters beside a box that may belong to it."""

_OPERATORS = r"\\(?:pm|mp|times|cdot|div|sqrt|pi|infty|leq?|geq?|lt|gt|neq?|approx|p?mod|bmod)"
_BEFORE = re.compile(
    r"(?:[\d+\-\u2212±/×÷·^√≥≤≈]|(?<=[\w)}])\*|(?<![=-])[<>]|(?<![A-Za-z])[A-Za-z]"  # noqa: RUF001
    rf"|(?<=[=$(]) ?[-\u2212] ?|(?:{_OPERATORS}|\\(?:log|ln|sin|cos|tan))\s*"
    r"|(?:\^|\\sqrt(?:\[\w+\])?|\\[dt]?frac(?:\{[^{}]*\})?)\{|\\[dt]?frac\{[^{}]*\}\{[^{}]*\})\$?$"
)
_AFTER = re.compile(
    r"\^(?!\s*\{?\s*\\circ)|\s?[-+\u2212/×÷*]\s?[\d(\\]|\s?[±√π∞]|[A-Za-z](?![A-Za-z])|\d"  # noqa: RUF001
    rf"|\s?(?:{_OPERATORS}|\\(?:[dt]?frac|over))(?![A-Za-z])"
    r"|\s?\$?\s?(?:hundred|thousand|million|billion|trillion|dozen|lakh|crore)\b"
)
_PERCENT = re.compile(r"\s?\$?\s?(?:\\?%|per ?cent\b)")
_BETWEEN = re.compile(r"\\(?:text|quad|qquad)|[\s${}()\\\[\],:;&*.-]")
_JOINING = re.compile(r"and|or|und|oder|et|ou|y|o|e|[A-Za-z](?:_\w|\d)?=?|=")


@dataclass(frozen=True, slots=True)
class Box:
    """The content of a box.

    Attributes:
        text: Of the box, with the sign of a percentage that follows it.
        is_whole: Whether it is all of the answer; not if it was cut off, or is longer than any.
    """

    text: str
    is_whole: bool


def last_box(text: str) -> Box | None:
    """The last box of a response; ``None``: it has none."""
    found = list(_BOX.finditer(text))
    if not found:
        return None
    begin = found[-1]
    inside = _inside(text, begin.end())
    if inside is None:
        return Box(text[begin.end() :][:LONGEST], is_whole=False)
    before = text[max(0, begin.start() - _NEAR) : begin.start()]
    after = text[begin.end() + len(inside) + 1 :][:_NEAR]
    whole = _BEFORE.search(before) is None and _AFTER.match(after) is None
    if len(found) > 1 and whole:
        whole = not _goes_with(text, found[-2], begin, inside)
    percent = r"\%" if _PERCENT.match(after) and inside.strip() else ""
    return Box(inside + percent, whole)


def _goes_with(text: str, other: re.Match[str], begin: re.Match[str], inside: str) -> bool:
    """Whether the box before the last is another part of the same answer."""
    said = _inside(text, other.end())
    end = other.end() + len(said or "") + 1
    if said is None or said.strip() == inside.strip() or end > begin.start():
        return False  # or the last is in the one before
    between = text[end : begin.start()]
    words = _BETWEEN.sub(" ", between[: _NEAR + 1]).split()
    return len(between) <= _NEAR and all(map(_JOINING.fullmatch, words))


def _inside(text: str, begin: int) -> str | None:
    """The text between a brace that was opened and the one that closes it."""
    depth = 1
    for place in range(begin, min(len(text), begin + LONGEST)):
        escaped = text[place - 1] == "\\"
        if not escaped and text[place] in "{}":
            depth += 1 if text[place] == "{" else -1
        if depth == 0:
            return text[begin:place]
    return None
