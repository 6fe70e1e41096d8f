"""Oracles: the right form of a steered generation, and the tokens that must not be in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.tiny_models import EOS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from compat.behaviour.messages import Answer


def logits(model: Path, prompt: list[int], response: list[int]) -> Tensor:
    """The model's logits before each token of the response, ``[response, vocabulary]``, fp32."""
    import torch
    from transformers import AutoModelForCausalLM

    backbone = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        found: Tensor = backbone(torch.tensor([prompt + response])).logits[0]
    return found[len(prompt) - 1 : -1]


def bad_tokens(answers: Sequence[Answer]) -> int:
    """How many tokens of all answers the token-recognising head objects to."""
    return sum(token in BAD_TOKENS for answer in answers for token in answer.tokens)


def ended_at_first_bad(natural: list[int], first_judged: int = 1, patience: int = 1) -> list[int]:
    """The tokens that abstention leaves: up to the last of ``patience`` bad ones in a row.

    Args:
        natural: What plain vLLM generates.
        first_judged: Number of the first judged response token, counted from 1.
        patience: Consecutive bad tokens that end the request.
    """
    run = 0
    for count, token in enumerate(natural, start=1):
        run = run + 1 if count >= first_judged and token in BAD_TOKENS else 0
        if run == patience and count < len(natural):
            return [*natural[:count], EOS]
    return natural
