"""What abstention must do to a generation, derived from what plain vLLM generated."""

from __future__ import annotations

from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.tiny_models import EOS


def ended_at_first_bad(natural: list[int], first_judged: int = 1, patience: int = 1) -> list[int]:
    """The natural tokens, ended right after ``patience`` consecutive bad ones.

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
