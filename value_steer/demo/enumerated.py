"""A trained model and its head, with every state of theirs written down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from value_steer.demo import grammar
from value_steer.demo.exact import chance_of_good, filtered_law, last_words, states
from value_steer.demo.language_model import REACH
from value_steer.threshold import NEVER, Threshold
from value_steer.value_probe import Polarity, load_value_head, oriented

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor
    from transformers import MistralForCausalLM

    from value_steer.value_probe import ValueHead


@dataclass(frozen=True, eq=False)
class Enumerated:
    """A model and its head, with everything about them that is known exactly.

    Attributes:
        undesirable: The head, turned to P(undesirable).
        law: Of the model's next word, fp64; see :mod:`value_steer.demo.exact`.
        bad_after: Table of the head's P(undesirable), which is fp32, as fp64.
    """

    undesirable: ValueHead
    law: Tensor
    bad_after: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: MistralForCausalLM, head_file: Path) -> Enumerated:
        """Run the model once on each of its states."""
        head = oriented(load_value_head(head_file), Polarity.P_UNDESIRABLE).head
        tokens = states()
        hidden = model.model(tokens).last_hidden_state[:, -1]
        shape = (len(grammar.WORDS),) * tokens.shape[1]
        law = model.lm_head(hidden).double().softmax(-1).reshape(*shape, -1)
        return cls(head, law, head.p(hidden).double().reshape(shape))

    @cached_property
    def good(self) -> Tensor:
        """P(good) at sea, by the tokens that are left and the state; see ``chance_of_good``."""
        return chance_of_good(self.law, grammar.MAX_TOKENS)

    def values(self, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
        """The exact P(good) after each token of a response, ``[T]``, fp64."""
        return torch.tensor(
            [self._value(prompt, response[: count + 1]) for count in range(len(response))],
            dtype=torch.float64,
        )

    def scores(self, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
        """The head's P(undesirable) after each token of a response, ``[T]``, fp64."""
        tokens = torch.tensor([*prompt, *response])[len(prompt) + 1 - REACH :]
        return self.bad_after[tokens.unfold(0, REACH, 1).unbind(-1)]

    def filtered(self, threshold: Threshold, candidates: int) -> Tensor:
        """The law of the model with value filtering."""
        return filtered_law(self.law, self.bad_after, as_number(threshold), candidates)

    def touched(self, threshold: Threshold, prompts: Sequence[Sequence[int]]) -> float:
        """P(the filter acts | the text is good) on average over prompts."""
        spared = chance_of_good(
            self.law, grammar.MAX_TOKENS, self.bad_after < as_number(threshold)
        )[-1]
        at = [last_words(prompt) for prompt in prompts]
        return 1 - sum(spared[i].item() for i in at) / sum(self.good[-1][i].item() for i in at)

    def _value(self, prompt: Sequence[int], begun: Sequence[int]) -> float:
        if grammar.is_decided(begun):
            return float(grammar.is_good(begun))
        left = grammar.MAX_TOKENS - len(begun)
        return self.good[(left, *last_words([*prompt, *begun]))].item()


def as_number(threshold: Threshold) -> float:
    """A threshold on P(undesirable) to compare with; no number reaches ``"never"``."""
    return math.inf if threshold == NEVER else float(threshold)
