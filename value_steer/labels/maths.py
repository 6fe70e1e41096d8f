"""Maths answers: found in the response, compared as mathematics."""

from __future__ import annotations

import logging
import re
from importlib.metadata import version
from typing import TYPE_CHECKING

from value_steer.labels.answers import Answer, final_answer, has_list, is_unsolved, whole_answer
from value_steer.labels.comparer import Comparer, NotComparedError
from value_steer.labels.verifier import reference_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from value_steer.features.records import Response
    from value_steer.labels.numerals import Number
    from value_steer.labels.verifier import Setting

logger = logging.getLogger("value_steer")

_RULES = 5
"""Changes with how answers are found and compared."""

_RELATION = re.compile(r"[<>≤≥]|\\(?:leq?|geq?|lt|gt)(?![a-zA-Z])")
_LOGARITHM = re.compile(r"\\(?:ln|log)(?![a-zA-Z])")
_RADIANS = re.compile(r"π|\\pi(?![a-zA-Z])")


class MathsEquality:
    r"""1 where the answer of the response equals the reference, as mathematics.

    The answer is the last ``\boxed{...}``, else the last number. A response without any is 0. An
    answer, or a reference, that cannot be read whole is no fragment of itself: unless the two are
    the same text, there is no label, and the same holds for a comparison that fails or does not end
    in time. Those are logged.

    Plain numbers are compared exactly. A percentage equals the number before the sign as well as
    the fraction that it is; a unit may be missing on one side, but two different ones are not
    compared.

    Args:
        seconds: For one comparison, which runs in a process of its own that is killed then.
        name: Under which the labels are stored.
    """

    def __init__(self, *, seconds: float = 20.0, name: str = "maths") -> None:
        self._seconds = seconds
        self.name = name

    @property
    def settings(self) -> Mapping[str, Setting]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        return {
            "verifier": "maths",
            "rules": _RULES,
            "math-verify": version("math-verify"),
            "seconds": self._seconds,
        }

    def label(self, responses: Sequence[Response]) -> list[float | None]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        pairs = [(whole_answer(reference_of(one)), final_answer(one.text)) for one in responses]
        known: dict[tuple[Answer, Answer | None], bool | None] = {}
        with Comparer(self._seconds) as comparer:
            for reference, answer in dict.fromkeys(pairs):
                equal = False if answer is None else _equal(comparer, reference, answer)
                if equal is None:
                    logger.warning("%r against %r: not compared", _shown(answer), reference.text)
                known[reference, answer] = equal
        return [None if known[pair] is None else float(known[pair] is True) for pair in pairs]


def _equal(comparer: Comparer, reference: Answer, answer: Answer) -> bool | None:
    if reference.number is not None and answer.number is not None:
        names = {one.name for one in (reference, answer)} - {None}
        return _same(reference.number, answer.number) if len(names) < 2 else None
    if answer.is_whole and _compact(reference.text) == _compact(answer.text):
        return True
    if has_list(reference) and answer.number is None and not answer.is_expression:
        # Beside a list a comma parts; alone it might be a decimal one.
        answer = whole_answer(answer.text.replace(",", ", "))
    if not (reference.is_readable and answer.is_readable) or _unlike(reference, answer):
        return None
    try:
        return comparer.equal(_latex(reference), _latex(answer))
    except NotComparedError as error:
        logger.warning("%r against %r: %s", answer.text, reference.text, error)
        return None


def _same(reference: Number, answer: Number) -> bool | None:
    units = [one.unit.casefold().rstrip(".") for one in (reference, answer)]
    values = [one.value for one in (reference, answer)]
    if "%" in units and units[0] != units[1]:
        if set(units) != {"%", ""}:
            return None
        share = values[units.index("%")]
        bare = values[units.index("")]
        return bare in {share, share / 100}
    if (all(units) or "‰" in units) and units[0] != units[1]:
        return None  # 1 m is 100 cm, which would take a table of units to know
    return values[0] == values[1]


def _unlike(reference: Answer, answer: Answer) -> bool:
    """Whether two are of different kinds, so that the parser would compare a part of one."""
    relations = [_RELATION.search(one.text) is not None for one in (reference, answer)]
    degrees = any(one.number is not None and one.number.unit == "°" for one in (reference, answer))
    unsolved = [is_unsolved(one.text) for one in (reference, answer)]
    # The parser takes the one for the other, or does not, by what else there is.
    bases = [_LOGARITHM.findall(one.text) for one in (reference, answer)]
    return (
        unsolved[0] != unsolved[1]
        or set(bases[0]) != set(bases[1])
        or relations[0] != relations[1]
        or (degrees and any(_RADIANS.search(one.text) for one in (reference, answer)))
    )


def _latex(answer: Answer) -> str:
    number = answer.number
    if number is None:
        return answer.text
    value = number.value / 100 if number.unit == "%" else number.value
    return str(value)


def _compact(text: str) -> str:
    """Without spaces, but those between digits: ``1 1/2`` is not ``11/2``."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text)


def _shown(answer: Answer | None) -> str:
    return "" if answer is None else answer.text[:80]
