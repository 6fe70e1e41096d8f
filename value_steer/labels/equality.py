"""Whether two answers are the same in mathematics. Runs in a process that can be killed."""

from __future__ import annotations

import logging
import resource

from math_verify import LatexExtractionConfig, parse, verify

# Only LaTeX is parsed: the other grammar of this library goes through Python's own evaluation.
_LATEX = [LatexExtractionConfig()]
_MEMORY = 4 << 30


def start() -> None:
    """Prepare a process for comparisons: nested powers may take all the memory there is."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it reports what it cannot parse


def equal(reference: str, answer: str) -> bool:
    """Whether two answers in LaTeX or as plain numbers are equal: ``1/2`` and ``0.5`` are.

    There is no time limit here.
    """
    return bool(verify(_parsed(reference), _parsed(answer), timeout_seconds=None))


def _parsed(answer: str) -> list[object]:
    parsed: list[object] = parse(
        rf"\boxed{{{answer}}}", extraction_config=_LATEX, parsing_timeout=None
    )
    return parsed
