"""The reference decoder's exact law: every way in which its draws can fall is played."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from value_steer.reference import Reference
from value_steer.value_probe import ValueHead

if TYPE_CHECKING:
    from collections.abc import Iterator

EOS, WORDS, MAX_TOKENS, THRESHOLD = 0, 4, 3, 0.5
PROMPT = [1]
LAW = torch.tensor(
    [
        [1.0, 0.0, 0.0, 0.0],
        [0.1, 0.3, 0.4, 0.2],
        [0.2, 0.1, 0.2, 0.5],
        [0.3, 0.3, 0.3, 0.1],
    ],
    dtype=torch.float64,
)
"""Of the next word after each; the state is the last word."""

P_UNDESIRABLE = torch.tensor([0.1, 0.7, 0.9, 0.4])
"""Two words are refused, and one of them less than the other."""


class LastWordHead(ValueHead):
    """A table of the last word's probability."""

    def __init__(self) -> None:
        super().__init__(WORDS)

    def p(self, hidden: Tensor) -> Tensor:
        """Look the word up; the hidden state is its one-hot code."""
        return P_UNDESIRABLE[hidden.argmax(-1)]


def model(tokens: Tensor, *, output_hidden_states: bool) -> Any:
    """Log-probabilities by the last word, whose one-hot code is the hidden state."""
    assert output_hidden_states
    hidden = torch.nn.functional.one_hot(tokens, WORDS).float()
    return SimpleNamespace(logits=LAW[tokens].log(), hidden_states=[hidden])


@dataclass(frozen=True)
class Scripted(Reference):
    """Its draws are prescribed; what they were worth is noted.

    Attributes:
        script: The draws of each step.
        chances: The probability of each step's draws.
    """

    script: tuple[tuple[int, ...], ...] = ()
    chances: list[float] = field(default_factory=list)

    def _candidates(self, logits: Tensor, count: int) -> list[int]:
        drawn = self.script[len(self.chances)]
        assert len(drawn) == count
        self.chances.append(logits.softmax(-1)[list(drawn)].prod().item())
        return list(drawn)


def played(draws: int) -> dict[tuple[int, ...], float]:
    """The probability of every response of the reference decoder."""
    law: dict[tuple[int, ...], float] = defaultdict(float)
    seen = set()
    steps = list(itertools.product(range(WORDS), repeat=draws))
    for script in itertools.product(steps, repeat=MAX_TOKENS):
        decoder = Scripted(model, LastWordHead(), THRESHOLD, MAX_TOKENS, EOS, 1.0, script=script)
        response = tuple(decoder.filter(PROMPT, draws))
        # A response that ends early leaves the rest of its script unread.
        read = script[: len(decoder.chances)]
        if read not in seen:
            seen.add(read)
            law[response] += torch.tensor(decoder.chances).prod().item()
    return law


def filtered(draws: int) -> Tensor:
    """The law of the next word by the formula, ``[words, words]``."""
    refused = LAW * (P_UNDESIRABLE >= THRESHOLD)
    b = refused.sum(-1, keepdim=True)
    law = LAW * sum(b**k for k in range(draws)) * (P_UNDESIRABLE < THRESHOLD)
    # Word 2 is the worst: it is committed only if every draw is it; word 1 whenever none is better.
    law[:, 2] = LAW[:, 2] ** draws
    law[:, 1] = b[:, 0] ** draws - LAW[:, 2] ** draws
    return law


def responses(prefix: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every response."""
    if len(prefix) == MAX_TOKENS or EOS in prefix:
        yield prefix
        return
    for word in range(WORDS):
        yield from responses((*prefix, word))


@pytest.mark.parametrize("draws", [1, 2])
def test_the_reference_has_the_law_of_the_formula(draws: int) -> None:
    """Response by response, nothing sampled."""
    law, step = played(draws), filtered(draws)

    assert torch.allclose(step.sum(-1), torch.ones(WORDS, dtype=step.dtype))
    assert sum(law.values()) == pytest.approx(1)
    for response in responses():
        pairs = itertools.pairwise((*PROMPT, *response))
        expected = torch.stack([step[before, after] for before, after in pairs]).prod().item()
        assert law[response] == pytest.approx(expected, abs=1e-6)
