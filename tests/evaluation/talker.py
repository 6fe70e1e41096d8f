"""A model that says the same after every sequence, and heads that look at the last token."""

from __future__ import annotations

from typing import Any

from tests.test_reference import EOS, LOGITS, LastTokenHead, constant_talker
from value_steer.evaluation.decoding import Look, Sampler, Step
from value_steer.reference import Reference

POLICY = LOGITS.double().softmax(-1)
PROMPT = [5]


def sampler(table: dict[int, float], top_p: float = 1.0, **keys: Any) -> Sampler:
    """A base policy whose head objects at 0.5 to the tokens of ``table``."""
    settings = {"threshold": 0.5, "max_tokens": 12, "eos": EOS, "temperature": 1.0, **keys}
    return Sampler(Reference(constant_talker, LastTokenHead(table), **settings), top_p)


def step(table: dict[int, float], seed: int = 0, **keys: Any) -> Step:
    """The first step of a response."""
    return Step(sampler(table, **keys), PROMPT, Look(LOGITS, 0.0), seed)
