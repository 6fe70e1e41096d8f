"""Maths answers: found in the response, compared as mathematics."""

from __future__ import annotations

import logging
import multiprocessing
import re
from concurrent.futures import TimeoutError as OutOfTimeError
from typing import TYPE_CHECKING

from pebble import ProcessExpired, ProcessPool

from value_steer.labels.equality import equal, start
from value_steer.labels.verifier import reference_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.features.records import Response

logger = logging.getLogger("value_steer")

_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_LONGEST = 500
"""Characters beyond which an answer is taken for none."""


class MathsEquality:
    r"""1 where the answer of the response equals the reference, as mathematics.

    The answer is the last ``\boxed{...}``, else the last number. A response without an answer, and
    one whose comparison fails or does not end in time, is 0; the latter are logged.

    Args:
        seconds: For one comparison, which runs in a process of its own that is killed then.
        processes: How many compare at a time.
        name: Under which the labels are stored.
    """

    def __init__(self, *, seconds: float = 20.0, processes: int = 1, name: str = "maths") -> None:
        self._seconds = seconds
        self._processes = processes
        self.name = name

    def label(self, responses: Sequence[Response]) -> list[float]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        pairs = [(_bare(reference_of(one)), final_answer(one.text)) for one in responses]
        known: dict[tuple[str, str | None], bool] = {}
        hard: list[tuple[str, str]] = []
        for reference, answer in dict.fromkeys(pairs):
            known[reference, answer] = reference == answer
            if answer is not None and reference != answer:
                hard.append((reference, answer))
        known.update(zip(hard, self._compare(hard), strict=True))
        return [float(known[pair]) for pair in pairs]

    def _compare(self, pairs: list[tuple[str, str]]) -> list[bool]:
        if not pairs:
            return []
        # Spawned: a fork of a process with threads, as torch's is, may never wake up.
        context = multiprocessing.get_context("spawn")
        with ProcessPool(self._processes, initializer=start, context=context) as pool:
            running = [pool.schedule(equal, pair, timeout=self._seconds) for pair in pairs]
            results = []
            for future, (reference, answer) in zip(running, pairs, strict=True):
                try:
                    results.append(future.result())
                except (OutOfTimeError, ProcessExpired, MemoryError, RecursionError) as error:
                    logger.warning("%r against %r: not compared (%r)", answer, reference, error)
                    results.append(False)
        return results


def final_answer(text: str) -> str | None:
    r"""The last ``\boxed{...}`` of a response, else its last number, else ``None``."""
    boxes = [box for start_of in _BOX.finditer(text) if (box := _box(text, start_of.end()))]
    if boxes:
        return _bare(boxes[-1])
    numbers = _NUMBER.findall(text)
    return str(numbers[-1]) if numbers else None


def _box(text: str, begin: int) -> str | None:
    """What stands between a brace that was opened and the one that closes it."""
    depth = 1
    for place in range(begin, min(len(text), begin + _LONGEST)):
        escaped = text[place - 1] == "\\"
        if not escaped and text[place] in "{}":
            depth += 1 if text[place] == "{" else -1
        if depth == 0:
            return text[begin:place]
    return None


def _bare(answer: str) -> str:
    return answer.strip().strip("$").strip()
