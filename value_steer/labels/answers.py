r"""The final answer of a response to a maths problem: what it is, or that it cannot be read.

An answer is the last ``\boxed{...}``, else the last number in the text. It is read whole: if what
stands around a number shows that it is only a part of the answer, nothing is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from value_steer.labels.boxes import last_box
from value_steer.labels.numerals import LONGEST, UNIT_LETTERS, Number, normal, read_number

_DIGIT = re.compile(r"\d")
# Not between two characters of a word: 2**10 is a power.
_EMPHASIS = re.compile(r"(?<!\w)\*\*|\*\*(?!\w)|__|`|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\S)")
_SPACES = re.compile(r"[ \t]{2,}")
_OPERATOR = re.compile(r"(?<=[\d)}\]]) ?([-+/×*^=<>±≤≥≈]) ?(?=[\d(.$\\-])")  # noqa: RUF001
_ASSIGNED = re.compile(r"^[A-Za-zα-ω](?:_?\{?\w{1,2}\}?)?\s?=\s?")  # noqa: RUF001  (Greek)
_JOIN_WORDS = """
by and or to & und oder bis et ou à y o e и или до 和 或 と through
"""
_SIGN_WORDS = """
mod >= <= log ln sin cos tan cot exp sqrt root power base exponent
- + / × * ^ < > ± ~ ≈ ≅ ≃ ∼ √ ≤ ≥ ≠ != | % plus
minus negative moins menos meno минус eksi mínus μείον سالب ऋण माइनस ลบ âm
twice thrice double triple quadruple half
point komma comma coma virgola virgule vírgula
except excluding unlike remainder rem
ten twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion
least most than over under above below exceeds exceeding beyond nearly almost
step figure fig eq eqn equation table section chapter page theorem lemma corollary
question problem case part note footnote
"""  # noqa: RUF001
_AFTER_WORDS = """
sqrt root
+ / × * ^ = < > ± √ ≤ ≥ π ∞ i pi ... … million millions billion billions thousand thousands
hundred hundreds trillion trillions dozen dozens mio mio. mrd mrd. mln mld k m bn million.
million, billion. thousand. dozen. half millionen milliarden millones milhões milioni
tausend mil mille lakh lakhs crore crores тысяч тысячи миллион миллиона миллионов млн млрд
тыс тыс. триллион триллиона триллионов milyon milyar trilyon miljoen miljard biljoen miljoner
miljarder milion miliony milionów bilion bilhões bilhão juta ribu triệu tỷ
squared cubed factorial choose mod or e ! halves thirds quarters fourths fifths sixths
sevenths eighths ninths tenths hundredths thousandths
‰ permille bps bp
repeating recurring periodic (repeating) (recurring) repeating. recurring. point einhalb
"""  # noqa: RUF001
_LEFT = re.compile(r"[\w\s.,+\-×*/^(){}']*")  # noqa: RUF001  (what an equation may begin with)
_BASES = frozenset({"binary", "octal", "hexadecimal", "hex"})
_DENIALS = frozenset({"not", "nicht", "pas", "non", "não", "не", "never"})
_PHRASES = ("up to", "or equal to", "divisible by", "absolute value of")
_JOINS, _SIGNS, _AFTER = (
    frozenset(words.split()) for words in (_JOIN_WORDS, _SIGN_WORDS, _AFTER_WORDS)
)
_COPULA_WORDS = (
    "is are was were equals equal gives makes leaves yields has have be = := -> => → ⇒ :"
)
_OF_WORDS = """
opposite negative reciprocal inverse factor divisor absolute
root square power cube logarithm log half third quarter out sine cosine multiple twice double
halves thirds quarters fourth fifth sixth seventh eighth ninth tenth fourths fifths sixths sevenths
eighths ninths tenths
one two three four five six seven eight nine ten eleven twelve dozen hundred thousand
"""
_GLUED = re.compile(r"[A-Za-z]+(?:_?\{?\d+\}?|[₀-₉]+)|[-+]?\d[\d.,/]*[^\W\d_]+\.?")
"""A name with a number in it, as ``log2``, or a number that its unit touches, as ``5ft``."""
_ASSIGNING = frozenset({"=", ":=", "≈"})
_ARROWS = frozenset({"->", "=>", "→", "⇒"})
_COPULAS, _OF = frozenset(_COPULA_WORDS.split()), frozenset(_OF_WORDS.split())
_STOPS = (".", ",", ";", ":", "?")
_TRAILING = ".,;:?\"'»”’"  # noqa: RUF001  (marks as they are typeset)
_LEADING = "\"'«“‘#"  # noqa: RUF001
_CJK = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
_CJK_NUMERAL = "万億亿千百十兆萬点點分割半第余餘之만억조천백십분점"
# What denies a number, or makes it negative, at the end of a run that has no spaces.
_CJK_SIGN = re.compile(r"(?:负|負|零下|减|減|マイナス|마이너스|不是|并非|並非|ではなく)$")
_VARIABLE = re.compile(r"([b-zB-HJ-Z])(?:\^\S*)?[.,;:]?")
_AND_WORDS = frozenset({"and", "y", "et", "e", "и", "с", "und"})  # noqa: RUF001  (Russian)
_HALF_WORDS = """
a one two three half medio media demi demie mezzo mezza meio meia половиной половина halb
"""
_HALVES = frozenset(_HALF_WORDS.split())
_PERCENTS = frozenset(("percent", "%", "pct", "prozent", "procent", "percento"))
_PERCENT_PAIRS = frozenset(("per cent", "por ciento", "pour cent", "por cento", "per cento"))
# Two letters may be a product; these are not.
_WORDS = re.compile(r"[A-Za-z]{3,}|\b(?:so|is|it|in|of|to|at|by|on|no|an|as|we|he|me|my|if|up)\b")
_FUNCTION_WORDS = "sin cos tan cot sec csc log exp sqrt max min gcd lcm mod and inf"
_FUNCTIONS = frozenset(_FUNCTION_WORDS.split())
_PLAIN_MATHS = re.compile(r"[\w\s\\{}()\[\]+\-*/^_=<>.,!|&;:'°πθ∞√±≤≥×α-ω$]*")  # noqa: RUF001
_BROKEN = re.compile(
    r"\d[\s\u2009]+[.]?\d"  # two numbers side by side, or a group of digits
    r"|\d\s+(?!or\b|and\b)[A-Za-z]+\s+\d"  # a measure of two parts: 3 h 20 min
    r"|\d'|\d_|\d\.\d+\.|\.\(|\\overline|\d[eE][-+]?\d|\d:\d"  # a number in a form of its own
    r"|/\s*\d+\s*(?:[A-Za-z(]|\\(?!right|cdot|times|,|;|:|!|\s|\})[A-Za-z])"  # 1/2x: of which?
    r"|\.\.\.|…|\\[lc]?dots|\\approx|≈|%|/\s*0+(?![\d.])"  # no one value, or none
    r"|\\[dt]?frac\s*(?:\{[^{}]*\}|\d)\s*(?:\{0+\}|0|\{?\\infty)"  # none either
    r"|\^\{?\s*(?:th|st|nd|rd)\b|\\[bp]?mod(?![a-z])"
    r"|\([A-Z]\)\s|[$]\d.*[$]\d"  # a choice and its value; two answers
)
_LISTED = re.compile(r"\d,\d")
_MEASURE = re.compile("\\d+['\u00b0\u2032\u2033]")
_SUBSCRIPTS = re.compile(
    r"\d[\d.]*[eE][-+]?\d+|_(?:\{[^{}]*\}|\w)|(?<=[A-Za-z])\d+|(?<=[A-Za-z])\([^()]*\)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer in a response, or in a reference.

    Attributes:
        text: In normal form.
        number: Its value, if all of it is one number.
        is_expression: Whether all of it may be read as LaTeX. If it is neither, it cannot be read.
        name: Of the variable that the number is said to be the value of.
        is_whole: Whether the text is all of the answer; else it is where reading it ended.
    """

    text: str
    number: Number | None = None
    is_expression: bool = False
    is_whole: bool = True
    name: str | None = None

    @property
    def is_readable(self) -> bool:
        """Whether it can be compared otherwise than letter by letter."""
        return self.number is not None or self.is_expression


def final_answer(text: str) -> Answer | None:
    r"""The last ``\boxed{...}`` of a response, else its last number; ``None``: there is neither."""
    text = _SPACES.sub(" ", text)
    box = last_box(text)
    if box is None:
        return _last_number(text)
    if not box.is_whole:
        return Answer(box.text, is_whole=False)
    return whole_answer(box.text) if box.text.strip() else None


def whole_answer(text: str) -> Answer:
    """A text all of which is an answer, such as a reference or what stands in a box."""
    plain = re.sub(r" +", " ", normal(text.strip().strip("$"))).strip()
    name = _ASSIGNED.match(plain)
    value = read_number(plain[name.end() :] if name is not None else plain)
    if value is not None:
        return Answer(plain, value, name=None if name is None else name[0].strip(" ="))
    plain = re.sub(r" +", " ", normal(text.strip().strip("$"), slashed=False)).strip()
    return Answer(plain, is_expression=_is_expression(plain))


def is_unsolved(text: str) -> bool:
    """Whether an equation has more than a name left of its sign: ``2x = 10`` does not say 10."""
    left = _SUBSCRIPTS.sub("", text.rpartition("=")[0])
    odd = re.search(r"[\d|^/]|\\[dt]?frac|\\sqrt|^-", left) is not None
    return odd and re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", left)) is not None


def has_list(answer: Answer) -> bool:
    """Whether an answer is several, so that a comma in it, or in its like, parts them."""
    return answer.number is None and "," in answer.text


def _is_expression(text: str) -> bool:
    """Whether LaTeX's parser may have a text: of what it does not know it reads a part."""
    words = {word.casefold() for word in _WORDS.findall(re.sub(r"\\[A-Za-z]+", " ", text))}
    balanced = text.count("{") == text.count("}")
    enclosed = text[:1] in "([\\" and text[-1:] in ")]}"
    return (
        len(text) <= LONGEST
        and balanced
        and words <= _FUNCTIONS
        and _PLAIN_MATHS.fullmatch(text) is not None
        and _BROKEN.search(text) is None
        and (enclosed or _LISTED.search(text) is None)
    )


def _last_number(text: str) -> Answer | None:
    line = _OPERATOR.sub(r"\1", _EMPHASIS.sub("", normal(text)))
    spaced = re.sub(rf"({_CJK}+|[。，、！])", r" \1 ", line)  # noqa: RUF001  (Chinese marks)
    tokens = [token for token in re.split(r"[ \t\n]+", spaced) if token]
    places = [place for place, token in enumerate(tokens) if _DIGIT.search(token)]
    if not places:
        return None
    at = places[-1]
    token = _stripped(tokens[at])
    if ".." in tokens[at] or "…" in tokens[at]:
        return Answer(token, is_whole=False)
    joined = _joined(tokens, at, token)
    if joined is None:
        return Answer(token, is_whole=False)
    left, _, right = joined.rpartition("=")
    whole = _LEFT.fullmatch(left) is not None and not is_unsolved(joined)
    number = read_number(right) if whole else None
    return Answer(joined, number, is_whole=number is not None)


def _joined(tokens: list[str], at: int, token: str) -> str | None:
    """The token with what belongs to it; ``None``: it is a part of something that is no number."""
    after = [] if tokens[at].endswith(_STOPS) else tokens[at + 1 : at + 3]
    words = [word.strip(_TRAILING).casefold() for word in after]
    if (words and words[0] in _PERCENTS) or " ".join(words) in _PERCENT_PAIRS:
        token = f"{token} %"
    elif after and _goes_on(after):
        return None
    if _is_one_of_several(tokens[:at]) or _is_in_a_base(tokens[max(0, at - 12) : at]):
        return None
    # What stands before it in the same clause, the nearest last.
    before = tokens[max(0, at - 3) : at]
    clause = [place for place, one in enumerate(before) if one.endswith(_STOPS) and one != ":"]
    if clause and clause[-1] == len(before) - 1 and before[-1].endswith((",", ";")):
        return None if _DIGIT.search(before[-1]) and not _is_apart(before[-1], token) else token
    return _after(before[clause[-1] + 1 if clause else 0 :], token)


def _is_one_of_several(before: list[str]) -> bool:
    """Whether a number is the second that is assigned in one breath: x = 3 or x = 5."""
    if len(before) < 4 or before[-1] not in _ASSIGNING:
        return False
    if before[-3].endswith(","):
        return before[-4] in _ASSIGNING and _DIGIT.search(before[-3]) is not None
    joined = before[-3].casefold() in _JOINS and _DIGIT.search(before[-4]) is not None
    return joined and before[-5:-4] != [] and before[-5] in _ASSIGNING


def _is_in_a_base(before: list[str]) -> bool:
    """Whether digits are those of another base than ten: in base 8 it is 17."""
    ends = [place for place, one in enumerate(before) if one.endswith((".", "?", "!"))]
    words = [_stripped(one).casefold() for one in before[ends[-1] + 1 if ends else 0 :]]
    if not _BASES.isdisjoint(words):
        return True
    named = zip(["", *words], words, words[1:], strict=False)
    return any(b == "base" and a != "log" and c.isdecimal() and c != "10" for a, b, c in named)


def _goes_on(after: list[str]) -> bool:
    """Whether a number goes on in what follows it."""
    first = after[0].casefold()
    half = first in _AND_WORDS and after[-1].strip(_TRAILING).casefold() in _HALVES
    variable = _VARIABLE.fullmatch(after[0])
    if variable is not None and variable[1] not in UNIT_LETTERS:
        return True
    return half or first in _AFTER or first[0] in _CJK_NUMERAL or first.startswith("..")


def _after(before: list[str], token: str) -> str | None:
    """A token with what stands before it in its clause; see :func:`_joined`."""
    words = [_stripped(one).casefold() for one in before]
    if before[-1:] == [":"] and any(_DIGIT.search(word) for word in words[-2:]):
        return None  # 3 : 4
    if not words or not words[-1]:
        return token
    last, two = words[-1], words[-2] if len(words) > 1 else ""
    if re.fullmatch(r"[-+]?\d+", last) and re.fullmatch(r"\d+/\d+(?: ?%)?", token):
        return None if two and _alters(words[:-1]) else f"{last} {token}"
    if last == "-" and two.endswith("="):
        return f"-{token}"
    if _alters(words):
        return None
    if last in _JOINS:
        parts = "/" in token or any(_DIGIT.search(word) for word in words)
    elif _GLUED.fullmatch(last) or _MEASURE.fullmatch(before[-1]):
        parts = True
    elif _DIGIT.search(last):
        parts = not _is_apart(last, token)
    else:
        counted = two in _OF or any(_DIGIT.search(word) for word in words)
        powered = (two == "to" and last == "the") or (last in {"of", "in", "than"} and counted)
        links = last in _COPULAS and last not in _ARROWS
        parts = powered or (_DIGIT.search(two) is not None and not links)
    return None if parts else token


def _alters(words: list[str]) -> bool:
    """Whether the words before a number make it another, deny it, or say it of another thing."""
    last, two = words[-1], words[-2] if len(words) > 1 else ""
    phrase = " ".join(words)
    if not _DENIALS.isdisjoint(words) or phrase.endswith(_PHRASES) or "n't" in phrase:
        return True
    signed = last in _SIGNS or last[-1] in _CJK_NUMERAL or _CJK_SIGN.search(last) is not None
    return signed or (last == "=" and is_unsolved(f"{two}="))


def _is_apart(last: str, token: str) -> bool:
    """Whether two numbers side by side are two: neither a group of digits, a list nor a sum."""
    grouped = re.match(r"\d", token) and re.search(r"\d$", last)
    return not (grouped or last.endswith((",", ";")) or token[0] in "-+")


def _stripped(token: str) -> str:
    token = token.strip("$").strip(_LEADING).rstrip(_TRAILING).strip("$")
    return token.rstrip(_TRAILING)
