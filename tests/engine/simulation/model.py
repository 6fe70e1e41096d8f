"""A model, a head and a grammar that are hashes of the sequence: every right answer is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from tests.engine.simulation.traces import STOP, VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

_WEIGHTS = (1, 1, 2, 3, 5, 8, 8, 13)


@lru_cache(maxsize=1 << 14)
def _bits(salt: int, sequence: tuple[int, ...]) -> int:
    return hash((salt, len(sequence), *sequence)) & ((1 << 61) - 1)


@dataclass(frozen=True, slots=True)
class State:
    """What a forward pass leaves at the end of a sequence."""

    logits: tuple[float, ...]
    undesirable: float
    good: float


@lru_cache(maxsize=1 << 14)
def state(salt: int, sequence: tuple[int, ...]) -> State:
    """The hidden state after a sequence."""
    bits = _bits(salt, sequence)
    logits = tuple(math.log(_WEIGHTS[(bits >> 3 * i) & 7]) for i in range(VOCABULARY))
    return State(logits, ((bits >> 40) & 15) / 16, ((bits >> 50) & 15) / 16)


def allowed(salt: int, response: Sequence[int]) -> tuple[bool, ...]:
    """What a grammar lets come after a response; something always."""
    bits = _bits(~salt, tuple(response))
    mask = (bits >> 7) & ((1 << VOCABULARY) - 1)
    return tuple(bool(mask >> i & 1) or i == bits % VOCABULARY for i in range(VOCABULARY))


def sampled(logits: Sequence[float], seed: int, position: int, *, greedy: bool) -> int:
    """The token that the host draws: by the request's seed and the position."""
    if greedy:
        return max(range(len(logits)), key=lambda token: logits[token])
    weights = [math.exp(value) for value in logits]
    at = hash((seed, position, 17)) % 9973 / 9973 * sum(weights)
    for token, weight in enumerate(weights):
        at -= weight
        if at < 0:
            return token
    return max(range(len(logits)), key=lambda token: logits[token])


def entry(logits: Sequence[float], token: int) -> tuple[int, float, int]:
    """A token's entry in a table of log-probabilities."""
    total = math.log(sum(math.exp(value) for value in logits))
    rank = sum(value >= logits[token] for value in logits)
    return token, logits[token] - total, rank


@dataclass(frozen=True, slots=True)
class Distributions:
    """What a batch was sampled from."""

    logits: Tensor
    seeds: Sequence[int]
    positions: Sequence[int]

    def of(self, rows: Sequence[int]) -> Tensor:
        """The processed logits of rows."""
        return self.logits[list(rows)]

    def generators(self, rows: Sequence[int]) -> list[Generator]:
        """Seeded by the request's seed and the position."""
        seeds = (self.seeds[row] * 1009 + self.positions[row] for row in rows)
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    def score(self, row: int, token: int) -> Any:
        """The entry of a token."""
        from value_steer.engine.delivery.outbox import Score  # noqa: PLC0415

        return Score(*entry(self.logits[row].tolist(), token))


def masked(logits: Sequence[float], mask: Sequence[bool] | None) -> list[float]:
    """Logits under a grammar."""
    if mask is None:
        return list(logits)
    return [value if ok else -math.inf for value, ok in zip(logits, mask, strict=True)]


def stops(ask: Any, longest: int, response: Sequence[int]) -> str | None:
    """Why a response is over after its last token."""
    if len(response) < ask.least:
        return None
    if response[-1] == STOP:
        return "stop"
    full = len(ask.prompt) + len(response) >= longest or len(response) >= ask.most
    return "length" if full else None
