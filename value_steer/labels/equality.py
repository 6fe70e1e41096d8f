"""Whether two answers are the same in mathematics. Runs in a process that can be killed."""

from __future__ import annotations

import json
import logging
import resource
import sys

from math_verify import LatexExtractionConfig, parse, verify

# Only LaTeX is parsed: the other grammar of this library goes through Python's own evaluation.
_LATEX = [LatexExtractionConfig()]
_MEMORY = 4 << 30


def equal(reference: str, answer: str) -> bool | None:
    """Whether two answers in LaTeX or as plain numbers are equal: ``1/2`` and ``0.5`` are.

    There is no time limit here.

    Returns:
        ``None`` if one of them is no mathematics that the parser knows.
    """
    sides = _parsed(reference), _parsed(answer)
    # What it cannot parse comes back as text alone.
    if any(not side or isinstance(side[0], str) for side in sides):
        return None
    return bool(verify(*sides, timeout_seconds=None))


def serve() -> None:
    """Compare the pairs that come in, a line of JSON each, until there are no more."""
    # Nested powers may take all the memory there is.
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it reports what it cannot parse
    _answer("ready")
    for line in sys.stdin:
        try:
            _answer(equal(*json.loads(line)))
        except (MemoryError, RecursionError) as error:
            _answer(repr(error))


def _answer(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _parsed(answer: str) -> list[object]:
    parsed: list[object] = parse(
        rf"\boxed{{{answer}}}", extraction_config=_LATEX, parsing_timeout=None
    )
    return parsed
