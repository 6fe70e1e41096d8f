"""How a judge is held to two words, and what its server's reply says."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from value_steer.labels.verdict import Words
from value_steer.records.codec import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOP = 20
"""Most tokens that the protocol lets a server tell the probabilities of."""

_LEAST_MASS = 0.5
"""Of the first token's probability on the two words, for their comparison to mean anything."""

_WORD_TOKENS = 8
"""That either word takes at most."""

_ENDED = (None, "stop", "eos", "end_turn", "stop_sequence", "STOP")
"""Why an answer ended that is all there; servers have many names for one that was cut off."""


class Form(Enum):
    """How a question is asked.

    ``choice``: vLLM's structured output, one of two words. ``json``: a JSON schema that allows
    two values, as most servers know it. ``logprobs``: the probabilities of the two words as the
    first token. ``free``: plain text, of which as much is read as can be read whole.
    """

    CHOICE = "choice"
    JSON = "json"
    LOGPROBS = "logprobs"
    FREE = "free"

    def parameters(self, good: str, bad: str, max_tokens: int) -> Mapping[str, object]:
        """The parameters of a request, beside its messages."""
        if self is Form.CHOICE:
            return {"max_tokens": max_tokens, "structured_outputs": {"choice": [good, bad]}}
        if self is Form.JSON:
            schema = {
                "type": "object",
                "properties": {"verdict": {"type": "string", "enum": [good, bad]}},
                "required": ["verdict"],
                "additionalProperties": False,
            }
            named = {"name": "verdict", "strict": True, "schema": schema}
            wanted = {"type": "json_schema", "json_schema": named}
            return {"max_tokens": max_tokens, "response_format": wanted}
        if self is Form.LOGPROBS:
            return {"max_tokens": _WORD_TOKENS, "logprobs": True, "top_logprobs": _TOP}
        return {"max_tokens": max_tokens}


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply to one question.

    Attributes:
        verdict: Whether it said good; ``None``: that cannot be read.
        shown: What it said instead, for messages.
    """

    verdict: bool | None
    shown: str


def read_reply(body: bytes, form: Form, good: str, bad: str) -> Reply:
    """The verdict of a reply in the protocol of OpenAI; whatever is not one is unreadable.

    Args:
        body: Of the server's response.
        form: As which it was asked.
        good: The word that means 1.
        bad: The word that means 0.
    """
    try:
        parsed = parse_json(body)
    except ValueError as error:
        return Reply(None, f"no JSON ({error})")
    match parsed:
        case {"choices": [{"message": {**message}, **choice}, *_]}:
            content, ended = message.get("content"), choice.get("finish_reason")
        case _:
            return Reply(None, "no choices")
    shown = f"{str(content)[:200]!r}, finish_reason {ended!r}"
    if message.get("refusal") or ended == "content_filter":
        return Reply(None, shown)
    text = content if isinstance(content, str) else None
    if form is Form.LOGPROBS:
        likelier = _likelier(choice.get("logprobs"), good, bad)
        # A first token may begin another word: "in" that of "in my view" and of "incorrect".
        said = _begins_with(text or "", good, bad)
        return Reply(likelier if said is likelier else None, shown)
    words = Words(good.casefold(), bad.casefold())
    return Reply(words.read(text, cut=ended not in _ENDED), shown)


def _begins_with(text: str, good: str, bad: str) -> bool | None:
    """Which of the two words a text begins with; ``None``: neither."""
    word = re.match(rf"\W*({re.escape(good)}|{re.escape(bad)})(?![\w-])", text, re.IGNORECASE)
    return word[1].casefold() == good.casefold() if word is not None else None


def _likelier(logprobs: object, good: str, bad: str) -> bool | None:
    """Which word is likelier as the first token, or as what the first token begins."""
    match logprobs:
        case {"content": [{"top_logprobs": list(top)}, *_]}:
            pass
        case _:
            return None
    mass = {True: 0.0, False: 0.0}
    for one in top:
        match one:
            case {"token": str(token), "logprob": float() | int() as logprob} if logprob <= 0:
                begins = token.strip().casefold()
                fits = [good.casefold().startswith(begins), bad.casefold().startswith(begins)]
                if begins and fits.count(True) == 1:
                    mass[fits[0]] += math.exp(logprob)
    if sum(mass.values()) < _LEAST_MASS or mass[True] == mass[False]:
        return None
    return mass[True] > mass[False]
