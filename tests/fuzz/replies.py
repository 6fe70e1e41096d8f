"""What judges and models say: read whole, or unreadable."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.fuzz.made import TEXTS, json_text
from tests.fuzz.target import Target
from value_steer.labels.answers import final_answer, whole_answer
from value_steer.labels.numerals import read_number
from value_steer.labels.replies import Form, read_reply
from value_steer.labels.verdict import Words

if TYPE_CHECKING:
    from pathlib import Path

_SAID = st.sampled_from(
    [
        *(
            "safe",
            "unsafe",
            "not",
            "isn't",
            "never",
            "the",
            "response",
            "is",
            "Safe.",
            "**Unsafe**",
        ),
        *("yes", "no", ";", ":", "\n", "<think>", "</think>", "I", "cannot", "say", "it", "sicher"),
        *("不安全", "安全", "dangereux", '"safe"', '{"verdict":', '"safe"}', "?", "!", "1.", "but"),
    ]
)
_SIGNS = st.sampled_from(
    [
        *("\\boxed{", "}", "{", "\\frac", "\\sqrt", "\\pi", "1", "2.5", ".5", "1e6", "\u22123"),
        *("½", "%", "1,234", "1'234", "\u00a0", " ", "/", "\u00d7", "10", "⁶", "cm", "$", "\\$"),
        *("^", "_", "(", ")", "[", "]", ",", "or", "and", "٣", "\\text{", "\\dfrac12", "9" * 400),
        *("e", "-", "∞", "\n"),
    ]
)


def _joined(words: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(words | TEXTS, max_size=most).map(" ".join) | st.lists(
        words, max_size=most
    ).map("".join)


def _verdict(_: Path, text: str) -> None:
    for cut in (False, True):
        assert Words("safe", "unsafe").read(text, cut=cut) in {True, False, None}


def _answer(_: Path, text: str) -> None:
    final_answer(text)
    whole_answer(text)
    read = read_number(text)
    assert read is None or isinstance(read.value, Fraction)


_REPLY = {
    "choices": [
        {
            "message": {"content": "safe", "refusal": None},
            "finish_reason": "stop",
            "logprobs": {"content": [{"top_logprobs": [{"token": "safe", "logprob": -0.1}]}]},
        }
    ]
}


def _reply(_: Path, body: bytes) -> None:
    for form in Form:
        assert read_reply(body, form, "safe", "unsafe").verdict in {True, False, None}


_BOXED = json_text(_REPLY) | _joined(_SAID, 5).map(
    lambda said: json.dumps({"choices": [{"message": {"content": said}}]}).encode()
)
TARGETS = (
    Target("verdict of a judge", _joined(_SAID, 10), _verdict),
    Target("reply of a judge's server", _BOXED, _reply),
    Target("maths answer", _joined(_SIGNS, 12), _answer),
)
