"""Numbers as people write them, read whole or not at all.

What is ambiguous is not read: ``1,5`` is a number in some countries and two in others. ``1,234`` is
taken for a number with a group of thousands, and ``1.234`` for one with decimals, as in English.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

_THIN = "\u2009"
"""Stands for every space that cannot break a line, and for LaTeX's."""

_RAISING = "\ue000"
"""Stands before what was a superscript."""

_APART = "\ue001"
"""Stands before what was a fraction of one character."""

_RUN = re.compile(f"(?:{_RAISING}.)+")
_SAME = {
    **dict.fromkeys("\u2212\u2010\u2011\ufe63\uff0d\u2013\u2796", "-"),
    **dict.fromkeys("\u2044\u2215\uff0f", "/"),
    **dict.fromkeys("\u00a0\u202f\u2007\u2008\u200a", _THIN),
    **dict.fromkeys("\u2019\u02bc\u066c\uff07", "'"),
    **dict.fromkeys("\u00d7\u22c5\u2217\u00b7", "×"),  # noqa: RUF001  (the sign itself)
    "\u066b": ".",
    "\uff0e": ".",
    "\uff0c": ",",
    "\uff0b": "+",
    "\uff05": "%",
    "\u066a": "%",
    "\uff08": "(",
    "\uff09": ")",
    "\uff1d": "=",
}
_LATEX = (
    (re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])\s?"), ""),
    (re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf)\s*\{([^{}\\\d]*)\}"), r" \1 "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;:!]|\\ |(?<=\d)~(?=\d)"), _THIN),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\varnothing(?![a-zA-Z])"), r"\\emptyset"),
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])"), "×"),  # noqa: RUF001
    (re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"), "°"),
    (re.compile(r"(?<=\d)~(?!\d)"), " "),
)
_FRAC = re.compile(
    r"\\[dt]?frac\s*(?:\{\s*(-?[\d.,]+)\s*\}|(\d))\s*(?:\{\s*(-?[\d.,]+)\s*\}|(\d))"
    r"(?!\s?[.,]?\d)"  # three halves, where the numbers run together
)
# None begins with 0: that is a decimal, 0,123, as some countries write it.
_GROUPED = (
    r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?",  # 1,234,567.8
    r"[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?",  # 12,34,567.8: India
    rf"[1-9]\d{{0,2}}(?:{_THIN}\d{{3}})+(?:[.,]\d+)?",  # 1 234 567,8: ISO, France, Russia
    r"[1-9]\d{0,2}(?: \d{3})+(?:[.,]\d+)?",
    r"[1-9]\d{0,2}(?:'\d{3})+(?:[.,]\d+)?",  # 1'234'567.8: Switzerland
    r"[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?",  # 1.234.567,8: Germany, Brazil, Indonesia
    r"[1-9]\d{0,2}(?:\.\d{3})+,\d+",
    r"[1-9]\d{0,2}(?:_\d{3})+(?:\.\d+)?",
)
_PLAIN = r"\d+(?:\.\d*)?|\.\d+"
_UNSIGNED = re.compile("|".join((*_GROUPED, _PLAIN)))
_DECIMAL = rf"[-+]?\s?(?:{_UNSIGNED.pattern})"
_POWER = r"\s?[×x*]\s?10\s?\^\s?\(?\{?([-+]?\d{1,3})\}?\)?"  # noqa: RUF001
_SCIENTIFIC = re.compile(rf"({_DECIMAL})(?:[eE]([-+]?\d{{1,3}})|{_POWER})")
_MOST_DIGITS = 1000
_RAISED = re.compile(r"([-+]?)(\d{1,9})\s?\^\s?\{?([-+]?\d{1,3})\}?")
_RATIO = re.compile(rf"({_DECIMAL})\s?/\s?({_DECIMAL})")
_MIXED = re.compile(r"([-+]?)(\d+)[\s\u2009]+(\d+)\s?/\s?(\d+)")
_CURRENCY = "$€£¥₹₽₩"
_UNIT = re.compile(
    r"[^\W\d_]+\.?(?:[ /·^-]*[^\W\d_]+\.?)*(?:\^[23])?|°(?:[CF])?|[%‰°]|[" + _CURRENCY + "]"
)
UNIT_LETTERS = frozenset("mgshlLKVWAJNCtd")
"""The letters that are units; any other is a variable or a constant."""
_NO_UNIT_WORDS = """
per or and to pi sin cos tan log ln exp sqrt if not but than more less least most about mod plus
minus times over choose factorial squared cubed root infinity inf und oder et ou y o e и или
half quarter third thirds quarters halves st nd rd th tenths hundredths thousandths fourths
fifths sixths sevenths eighths ninths
"""
_NO_UNIT = frozenset(_NO_UNIT_WORDS.split())
_SCALE = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
_UNREAD_SCALE = re.compile(
    r"(?:mio|mrd|mln|mld|млн|млрд|тыс|milli[oóõa]\w*|mill?iard\w*|milion\w*|mili?ard\w*|millones"
    r"|mil|mille|mila|tausend|hundert|cent|cien\w*|mil hares|lakhs?|crores?|тысяч\w*|миллион\w*"
    r"|миллиард\w*|dozens|hundreds|thousands|millions|billions|k|bn|tn|duzend\w*|dutzend\w*)\.?"
)
LONGEST = 500
"""Characters beyond which a text is no answer."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number that was read whole.

    Attributes:
        value: Exactly.
        unit: As it was written; empty without any. Of ``%`` the value is the number before it.
    """

    value: Fraction
    unit: str = ""


def normal(text: str, *, slashed: bool = True) -> str:
    r"""A text with one form for each sign, digit and fraction, and LaTeX's wrapping undone.

    Args:
        text: As it was written.
        slashed: Whether LaTeX's fractions of two numbers become ``1/2``, which is no number any
            more beside a letter: ``1/2x`` is not ``\\frac{1}{2}x``.
    """
    text = "".join(map(_plain_letter, text))
    text = _RUN.sub(lambda run: "^" + run[0].replace(_RAISING, ""), text)
    text = re.sub(rf"(?<=\d){_APART}", " ", text).replace(_APART, "")
    text = re.sub(r"(?<=\d) ?[x*] ?(?=\d)", "×", text)  # noqa: RUF001
    text = text.replace("\\(", " ").replace("\\)", " ").replace("\\[", " ").replace("\\]", " ")
    for pattern, instead in _LATEX:
        text = pattern.sub(instead, text)
    return re.sub(r" +\^", "^", _FRAC.sub(_slash, text) if slashed else text)


def read_number(text: str) -> Number | None:
    """The number that all of a normal text is, with its unit; ``None`` if it is unclear."""
    if len(text) > LONGEST:
        return None
    text = text.strip(f" \n{_THIN}").strip("$").strip()
    while text.startswith("(") and text.endswith(")") and ")" not in text[:-1]:
        text = text[1:-1].strip()
    before = text[:1] if text[:1] and text[:1] in _CURRENCY else ""
    text = text.removeprefix(before).lstrip()
    if (value := _value(text)) is not None:
        return Number(value, before)
    split = re.search(r"[^\W\d_][^\d]*(?:\^[23])?$|[%‰°€£¥₹₽₩].*$", text)
    while split is not None:
        number, unit = text[: split.start()].rstrip(f" {_THIN}"), split[0].strip()
        value = _value(number)
        if value is not None and not before:
            return _with_unit(value, unit)
        split = re.compile(r"[^\W\d_][^\d]*(?:\^[23])?$").search(text, split.start() + 1)
    return None


def _with_unit(value: Fraction, unit: str) -> Number | None:
    words = unit.casefold().split()
    if len(words) > 1 and words[0] in _SCALE:
        value, words, unit = value * _SCALE[words[0]], words[1:], " ".join(unit.split()[1:])
    elif words and words[0] in _SCALE:
        return Number(value * _SCALE[words[0]])
    if unit.casefold() in {"percent", "per cent", "pct", "prozent", "pour cent", "por ciento"}:
        return Number(value, "%")
    known = _UNIT.fullmatch(unit) is not None and len(words) <= 4
    odd = any(word in _NO_UNIT or _UNREAD_SCALE.fullmatch(word) for word in words)
    letters = re.split(r"[^\w]+", unit)
    single = any(len(one) == 1 and one.isalpha() and one not in UNIT_LETTERS for one in letters)
    # Python's letters have ₂ and ① among them: a base, a footnote.
    lettered = not any(unicodedata.category(one) in {"No", "Nl"} for one in unit)
    return Number(value, unit) if known and lettered and not odd and not single else None


def _value(text: str) -> Fraction | None:
    if re.fullmatch(_DECIMAL, text):
        return _decimal(text)
    if (found := _SCIENTIFIC.fullmatch(text)) is not None:
        return _decimal(found[1]) * Fraction(10) ** int(found[2] or found[3])
    if (found := _MIXED.fullmatch(text)) is not None:
        part = Fraction(int(found[3]), int(found[4]) or 1)
        sign = -1 if found[1] == "-" else 1
        return sign * (int(found[2]) + part) if part < 1 and int(found[4]) else None
    if (found := _RATIO.fullmatch(text)) is not None:
        under = _decimal(found[2])
        return _decimal(found[1]) / under if under else None
    found = _RAISED.fullmatch(text)
    # A power that Python would not print is no answer.
    if found is not None and int(found[2]) and len(found[2]) * abs(int(found[3])) <= _MOST_DIGITS:
        sign = -1 if found[1] == "-" else 1
        return sign * Fraction(int(found[2])) ** int(found[3])
    return None


def _decimal(text: str) -> Fraction:
    """The value of a text that matches ``_DECIMAL``."""
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+- ")
    # The last mark is the decimal one if it is another than those before, or is no group's.
    whole, mark, part = _parted(digits)
    clean = re.sub(r"\D", "", whole) or "0"
    return sign * Fraction(f"{clean}.{part or 0}" if mark else clean)


def _parted(digits: str) -> tuple[str, str, str]:
    for pattern in _GROUPED:
        if re.fullmatch(pattern, digits):
            found = re.search(r"(.*\d{3})([.,])(\d+)$", digits)
            grouping = re.search(r"\D", digits)
            if found is not None and grouping is not None and found[2] != grouping[0]:
                return found[1], found[2], found[3]
            return digits, "", ""
    return digits.partition(".")


def _plain_letter(letter: str) -> str:
    if letter.isascii():
        return letter
    if letter in _SAME:
        return _SAME[letter]
    digit = unicodedata.decimal(letter, None)
    if digit is not None:
        return str(digit)
    form = unicodedata.decomposition(letter)
    if form.startswith("<super>"):
        raised = chr(int(form.split()[1], 16))
        return _RAISING + ("-" if raised == "\u2212" else raised)
    if form.startswith("<fraction>"):
        value = unicodedata.numeric(letter)
        fraction = Fraction(value).limit_denominator(10)
        return f"{_APART}{fraction.numerator}/{fraction.denominator}"
    return letter


def _slash(found: re.Match[str]) -> str:
    over, under = found[1] or found[2], found[3] or found[4]
    joined = found.start() > 0 and found.string[found.start() - 1].isdigit()
    return f"{' ' if joined else ''}{over}/{under}"
