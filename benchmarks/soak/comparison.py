"""Comparison of an answer under load with the one that was given alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.soak.schedule import PAIRS
from compat.behaviour.heads import BAD_TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.soak.client import Answer

TOLERANCE = 1e-3
"""Between two values of one token: what a batch changes in the last digits is no difference."""

_OURS = "value_steer:"


def left(answer: Answer) -> bool:
    """Whether its client went away before the end."""
    return answer.status == 200 and answer.finish is None


def pair_of(told: Mapping[str, Any]) -> int | None:
    """Which of the server's thresholds applied to an answer; ``None``: none of them."""
    applied = (told["threshold"], told["vfd_threshold"])
    for number, pair in enumerate(PAIRS):
        if applied == tuple(None if value == "never" else value for value in pair.values()):
            return number
    return None


def difference(expected: Answer, got: Answer) -> str | None:
    """The difference between the answer given alone and another; ``None``: none."""
    if left(got):
        if expected.tokens[: len(got.tokens)] == got.tokens:
            return None
        return f"its first tokens: {got.tokens} where {expected.tokens} came alone"
    for name in ("status", "error", "tokens", "finish", "stop"):
        one, other = getattr(expected, name), getattr(got, name)
        if one != other:
            return f"{name}: {other!r} where {one!r} came alone"
    if _at_a_word(got) or expected.told is None:
        return None  # how far the engine went before it was told of the word is chance
    for key, one in expected.told.items():
        other = (got.told or {}).get(key)
        if not _alike(one, other):
            return f"{key}: {other!r} where {one!r} came alone"
    return None


def unjudged(answer: Answer) -> str | None:
    """Why a token of an answer was not judged, or not as itself; ``None``: all that must be were.

    An answer that does not hold its values says only how many tokens went out unjudged.
    """
    told = answer.told or {}
    if told.get("unscored"):
        return f"{told['unscored']} tokens went out unjudged"
    if "values" not in told:
        return None
    # The token on which the scheduler ends the answer may be judged, which changes nothing.
    given = answer.tokens[:-1] if str(answer.stop).startswith(_OURS) else answer.tokens
    most = math.inf if _at_a_word(answer) else len(answer.tokens)
    if told["vfd_threshold"] is not None:
        refused = sum(value >= told["vfd_threshold"] for value in told["undesirable"])
        if refused > told["no_acceptable"]:
            return f"{refused} tokens were refused, and {told['no_acceptable']} had to go out"
        return _misjudged(given, told["undesirable"], most)
    if told["threshold"] is not None:
        # Abstention judges a token in the step after it; after the last one there is none.
        known = given if told["outcome"] == "abstained" else given[:-1]
        return _misjudged(known, [1 - value for value in told["values"]], most)
    return None


def _misjudged(tokens: Sequence[int], undesirable: Sequence[float], most: float) -> str | None:
    if not len(tokens) <= len(undesirable) <= most:
        return f"{len(tokens)} tokens and {len(undesirable)} values"
    for at, (token, value) in enumerate(zip(tokens, undesirable, strict=False)):
        if (token in BAD_TOKENS) != (value > 0.5):
            return f"token {at}, {token}, was judged as another: {value}"
    return None


def _at_a_word(answer: Answer) -> bool:
    return answer.finish == "stop" and isinstance(answer.stop, str) and answer.stop[:1] == "w"


def _alike(one: Any, other: Any) -> bool:  # noqa: ANN401  (any JSON)
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=0.0, abs_tol=TOLERANCE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)
