"""The plain algorithms, on a model whose right answers are known."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from value_steer.reference import Reference
from value_steer.value_probe import ValueHead

VOCABULARY = 8
EOS = 0
LOGITS = torch.tensor([-9.0, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0])


class LastTokenHead(ValueHead):
    """The probability is a table of the last token's."""

    def __init__(self, table: dict[int, float]) -> None:
        super().__init__(VOCABULARY)
        self.table = table

    def p(self, hidden: Tensor) -> Tensor:
        """Look each last token up; a hidden state is its one-hot code."""
        return torch.tensor([self.table.get(token, 0.0) for token in hidden.argmax(-1).tolist()])


def constant_talker(tokens: Tensor, *, output_hidden_states: bool) -> Any:
    """The same next-token distribution after every sequence."""
    assert output_hidden_states
    hidden = torch.nn.functional.one_hot(tokens, VOCABULARY).float()
    return SimpleNamespace(logits=LOGITS.expand(*tokens.shape, -1), hidden_states=[hidden])


def reference(table: dict[int, float], **keys: Any) -> Reference:
    """A reference that objects at 0.5."""
    settings = {"threshold": 0.5, "max_tokens": 4, "eos": EOS, **keys}
    return Reference(constant_talker, LastTokenHead(table), **settings)


@pytest.mark.parametrize(
    ("table", "tokens"),
    [
        ({}, [1, 1, 1, 1]),
        ({1: 0.5}, [2, 2, 2, 2]),
        ({1: 0.9, 2: 0.8}, [3, 3, 3, 3]),
        ({1: 0.9, 2: 0.8, 3: 0.7}, [3, 3, 3, 3]),
    ],
    ids=["no objection", "a tie is an objection", "in order", "none acceptable"],
)
def test_a_greedy_response_is_filtered_in_order(table: dict[int, float], tokens: list[int]) -> None:
    """The most probable acceptable token, or the least undesirable of the candidates."""
    assert reference(table).filter([5], candidates=3) == tokens


def test_a_sampled_response_follows_the_filtered_policy() -> None:
    """The first acceptable draw; a token that is objected to is left only by bad luck."""
    generator = torch.Generator().manual_seed(0)
    sampler = reference({1: 0.9}, temperature=1.0, generator=generator, max_tokens=2000)

    counts = Counter(sampler.filter([5], candidates=2))

    policy = LOGITS.softmax(-1)
    law = policy * (1 + policy[1])
    law[1] = policy[1] ** 2
    spread = (2000 * law * (1 - law)).sqrt()
    for token in range(1, VOCABULARY):
        assert abs(counts[token] - 2000 * law[token]) < 4.5 * spread[token] + 1


@pytest.mark.parametrize(
    ("p_good", "tokens"), [(0.5, [1, 1, 1, 1]), (0.4, [1, EOS])], ids=["a tie goes on", "below"]
)
def test_a_response_ends_when_its_value_falls_below(p_good: float, tokens: list[int]) -> None:
    """The first judged token is the first of the response."""
    assert reference({1: p_good}).abstain([5]) == tokens
