"""Both interventions on a ``transformers`` model: plain, one request at a time, nothing cached.

This is what the engine does, written to be read; its tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from value_steer.policy import Candidate, acceptable, least_undesirable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

    from value_steer.value_probe import ValueHead


@dataclass(frozen=True, slots=True)
class Reference:
    """A model, its value head, and how to sample.

    Attributes:
        model: A causal language model of ``transformers``.
        head: Its probability means P(good) for :meth:`abstain` and P(undesirable) for
            :meth:`filter`.
        threshold: Abstain below it; filter from it on.
        max_tokens: Response tokens at most.
        eos: The token that ends a response.
        temperature: 0 takes the most probable token.
        generator: Source of randomness of a positive temperature.
    """

    model: Any
    head: ValueHead
    threshold: float
    max_tokens: int
    eos: int
    temperature: float = 0.0
    generator: Generator | None = None

    @torch.no_grad()
    def abstain(self, prompt: Sequence[int]) -> list[int]:
        """The response, ended where P(good) falls below the threshold.

        Source: "Knowing When to Quit", stop rule ``V(s_t) < r_abstain``.
        """
        response: list[int] = []
        while len(response) < self.max_tokens and self.eos not in response[-1:]:
            logits, value = self._look_at([*prompt, *response])
            given_up = bool(response) and not value >= self.threshold
            response.append(self.eos if given_up else self._candidates(logits, 1)[0])
        return response

    @torch.no_grad()
    def filter(self, prompt: Sequence[int], candidates: int = 8) -> list[int]:
        """The response in which every token is the first acceptable of ``candidates`` draws.

        If none is acceptable, the least undesirable one is committed.

        Source: "Selective Safety Steering via Value-Filtered Decoding".
        """
        response: list[int] = []
        while len(response) < self.max_tokens and self.eos not in response[-1:]:
            sequence = [*prompt, *response]
            logits, _ = self._look_at(sequence)
            response.append(self._first_acceptable(sequence, self._candidates(logits, candidates)))
        return response

    def _first_acceptable(self, sequence: list[int], drawn: list[int]) -> int:
        refused = []
        for token in dict.fromkeys(drawn):
            _, value = self._look_at([*sequence, token])
            if acceptable(value, self.threshold):
                return token
            refused.append(Candidate(token, value))
        return least_undesirable(refused).token

    @torch.no_grad()
    def look(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Run sequences of one length through the model and the head.

        Returns:
            The logits after each in fp32, ``[sequences, vocabulary]``, and its value,
            ``[sequences]``.
        """
        device = self.head.device
        output = self.model(torch.tensor(sequences, device=device), output_hidden_states=True)
        return output.logits[:, -1].float(), self.head.p(output.hidden_states[-1][:, -1])

    def _look_at(self, sequence: list[int]) -> tuple[Tensor, float]:
        logits, values = self.look([sequence])
        return logits[0], values[0].item()

    def _candidates(self, logits: Tensor, count: int) -> list[int]:
        """The ``count`` most probable tokens in order, or as many draws with replacement."""
        if self.temperature == 0:
            tokens = logits.sort(descending=True, stable=True).indices[:count]
        else:
            policy = (logits / self.temperature).softmax(-1)
            tokens = torch.multinomial(policy, count, replacement=True, generator=self.generator)
        return [int(token) for token in tokens.tolist()]
