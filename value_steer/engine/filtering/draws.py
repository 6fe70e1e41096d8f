"""Drawing further candidates from the distributions that a batch was sampled from."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Generator, Tensor

    from value_steer.engine.runners import Distributions


IMPOSSIBLE = -1
"""In place of a token that cannot be drawn."""


@dataclass(frozen=True, slots=True)
class Redraw:
    """Candidates asked for in one row.

    Attributes:
        request_id: Whose they are.
        row: Where it was sampled.
        count: Draws.
        greedy: Take the most probable tokens in order in place of draws.
    """

    request_id: str
    row: int
    count: int
    greedy: bool


def redraw(
    source: Distributions,
    wanted: Sequence[Redraw],
    own: Callable[[str], Generator | None],
) -> list[list[int]]:
    """The token ids of further candidates, one list per redraw, in draw order.

    A random row draws with replacement from randomness of its request's own; no other request's
    draws move. A greedy row gives its most probable tokens, ties by token id.

    Args:
        source: What the rows were sampled from.
        wanted: The rows.
        own: The source of randomness of a request.
    """
    rows = [one.row for one in wanted]
    logits = source.of(rows)
    policies, sources = probabilities(logits), source.generators(rows)
    drawn = [
        most_probable(row, one.count)
        if one.greedy
        else draw(policy, one.count, generator or own(one.request_id))
        for one, row, policy, generator in zip(wanted, logits, policies, sources, strict=True)
    ]
    # Read at once: each reading waits for the device.
    tokens = iter(torch.cat(drawn).tolist())
    return [[t for t in islice(tokens, len(part)) if t != IMPOSSIBLE] for part in drawn]


def probabilities(logits: Tensor) -> Tensor:
    """The distributions of processed logits, ``[rows, vocabulary]``, in fp32."""
    return logits.softmax(dim=-1, dtype=torch.float32)


def draw(policy: Tensor, count: int, generator: Generator | None) -> Tensor:
    """Draw ``count`` tokens with replacement from a distribution ``[vocabulary]``.

    The host's own way of drawing costs a random number per token of the vocabulary and draw; this
    one costs one per draw. Rounding of the cumulative distribution can hit a token of probability
    0; its place holds ``IMPOSSIBLE``.
    """
    if not count:
        return torch.empty(0, dtype=torch.long, device=policy.device)
    drawn = torch.multinomial(policy, count, replacement=True, generator=generator)
    return drawn.masked_fill_(policy[drawn] <= 0, IMPOSSIBLE)


def most_probable(logits: Tensor, count: int) -> Tensor:
    """The ``count + 1`` most probable tokens in order, ties by token id."""
    wanted = min(count + 1, len(logits))
    # Every token that ties with the last place, so that token ids decide among them.
    floor = logits.topk(wanted).values[-1]
    tokens = (logits >= floor).nonzero().flatten()
    values, order = logits[tokens].sort(descending=True, stable=True)
    return tokens[order[:wanted]].masked_fill_(values[:wanted] == -torch.inf, IMPOSSIBLE)
