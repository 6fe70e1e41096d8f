"""The chances that the demo enumerates, against every text written out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch

from value_steer.demo import grammar
from value_steer.demo.exact import chance_of_good, filtered_law
from value_steer.demo.grammar import EOS, WORDS
from value_steer.policy import Candidate, acceptable, least_undesirable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

TOKENS = 5


def texts(law: Tensor, state: int, tokens: int) -> Iterator[tuple[float, list[int]]]:
    """Every continuation of a word, with its probability."""
    if tokens == 0 or state == EOS:
        yield 1.0, []
        return
    for word in law[state].nonzero().flatten().tolist():
        for probability, rest in texts(law, word, tokens - 1):
            yield law[state, word].item() * probability, [word, *rest]


@pytest.mark.parametrize("forbidden", [(), ("storm", "moored"), ("</s>",)])
def test_the_chance_of_a_good_text(forbidden: tuple[str, ...]) -> None:
    """The sum over all texts that are good and pass through no forbidden word."""
    law = grammar.transitions()
    banned = [WORDS.index(word) for word in forbidden]
    allowed = torch.ones(len(WORDS), dtype=torch.bool)
    allowed[banned] = False

    chances = chance_of_good(law, TOKENS, allowed)

    for word in itertools.chain.from_iterable(grammar.WINDS):
        state = WORDS.index(word)
        expected = sum(
            probability
            for probability, text in texts(law, state, TOKENS)
            if grammar.is_good(text) and not set(text) & set(banned)
        )
        assert chances[TOKENS, state].item() == pytest.approx(expected, abs=1e-12)


def test_the_language_is_the_gamblers_ruin() -> None:
    """Averaged over a rung's two words, the value falls by a sixth from rung to rung."""
    chances = chance_of_good(grammar.transitions(), 2000)[-1]

    for rung, words in enumerate(grammar.WINDS, start=1):
        mean = chances[[WORDS.index(word) for word in words]].mean().item()
        assert mean == pytest.approx(1 - rung / (len(grammar.WINDS) + 1), abs=1e-9)


@pytest.mark.parametrize("draws", [1, 2, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.45, 0.5, 2.0])
def test_the_filtered_law(draws: int, threshold: float) -> None:
    """Equal to all ways to draw, decided by the runtime's functions; ties and all."""
    generator = torch.Generator().manual_seed(3)
    law = torch.rand(5, 5, generator=generator, dtype=torch.float64)
    law /= law.sum(-1, keepdim=True)
    p_undesirable = torch.tensor([0.4, 0.5, 0.7, 0.45, 0.9])

    found = filtered_law(law, p_undesirable, threshold, draws)

    expected = torch.zeros_like(law)
    for drawn in itertools.product(range(5), repeat=draws):
        expected[:, committed(drawn, p_undesirable, threshold)] += law[:, list(drawn)].prod(-1)
    assert torch.allclose(found, expected, atol=1e-12)


def committed(drawn: tuple[int, ...], p_undesirable: Tensor, threshold: float) -> int:
    """What the runtime commits of some draws."""
    values = [p_undesirable[word].item() for word in drawn]
    refused = []
    for word, value in zip(drawn, values, strict=True):
        if acceptable(value, threshold):
            return word
        refused.append(Candidate(word, value))
    return least_undesirable(refused).token
