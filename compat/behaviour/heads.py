"""Value heads whose right answer is known in advance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.behaviour.tiny_models import FIRST_WORD, HIDDEN, VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from value_steer.value_probe import ValueHead

BAD_TOKENS = frozenset(range(FIRST_WORD, VOCABULARY, 6))
"""The tokens that the token-recognising head objects to: about one in six."""

_CONFIDENCE = 0.9
"""P(good) of a good token, and P(bad) of a bad one: no value saturates to 0 or 1."""

_MARGIN = 0.2


def constant(p_good: float, path: Path, hidden: int = HIDDEN) -> Path:
    """A head that says the same of everything."""
    import torch

    head = _head(hidden)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.get_parameter("4.bias").fill_(torch.logit(torch.tensor(p_good)))
    return _save(head, path, hidden)


def token_recognising(model: Path, path: Path) -> Path:
    """A head fitted to say, from the hidden state alone, whether the last token is a bad one.

    Raises:
        AssertionError: The fit does not separate unseen hidden states with a margin, so no test
            that rests on it would mean anything.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    torch.manual_seed(7)
    hidden, target = _labelled_states(model, sequences=160)
    head = _head(hidden.shape[-1])
    optimiser = torch.optim.AdamW(head.parameters(), lr=5e-3)
    for _ in range(200):
        batch = torch.randint(len(hidden), (512,))
        optimiser.zero_grad()
        loss = binary_cross_entropy_with_logits(head(hidden[batch]).squeeze(-1), target[batch])
        loss.backward()
        optimiser.step()
    unseen, truth = _labelled_states(model, sequences=40)
    with torch.no_grad():
        error = (head(unseen).squeeze(-1).sigmoid() - truth).abs().max().item()
    assert error < _MARGIN, f"the head misjudges an unseen token by {error:.3f}"
    return _save(head, path, hidden.shape[-1])


def p_good(model: Path, head: str, tokens: list[int]) -> float:
    """The head's value of a sequence, on the hidden state that transformers computes for it."""
    return values(model, head, [tokens])[0][-1]


def values(model: Path, head: str, sequences: Sequence[list[int]]) -> list[list[float]]:
    """The head's values of sequences, one for each of their beginnings."""
    import torch
    from transformers import AutoModelForCausalLM

    from value_steer.value_probe import load_value_head

    backbone = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    loaded = load_value_head(head)
    with torch.no_grad():
        return [
            loaded.p(backbone.model(input_ids=torch.tensor([one])).last_hidden_state[0]).tolist()
            for one in sequences
        ]


def _labelled_states(model: Path, sequences: int) -> tuple[Tensor, Tensor]:
    import torch
    from transformers import AutoModelForCausalLM

    backbone = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokens = torch.randint(1, VOCABULARY, (sequences, 96))
    with torch.no_grad():
        states = backbone.model(input_ids=tokens).last_hidden_state
    bad = torch.isin(tokens, torch.tensor(sorted(BAD_TOKENS)))
    target = torch.where(bad, 1 - _CONFIDENCE, _CONFIDENCE)
    return states.flatten(0, 1), target.flatten()


def _head(hidden: int) -> ValueHead:
    from value_steer.value_probe import ValueHead

    return ValueHead(hidden)


def _save(head: ValueHead, path: Path, hidden: int) -> Path:
    from value_steer.value_probe import HeadCard, Polarity, save_value_head

    save_value_head(path, head, HeadCard(hidden_size=hidden, scores=Polarity.P_GOOD))
    return path
