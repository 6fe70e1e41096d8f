"""Further draws from the distribution that the host's sampler drew from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Redraw:
    """Candidates asked for in one row.

    Attributes:
        row: The row, as it was sampled.
        count: Draws.
        greedy: Take the most probable tokens in order in place of draws.
    """

    row: int
    count: int
    greedy: bool


class Draws:
    """Keeps what the last call of the host's sampler worked on, and draws from it again.

    The distribution is the processed one: every penalty, bias, grammar and temperature is in it,
    and top-k and top-p are applied by the host's own function.

    Args:
        sampler: The host's sampler, in which three of its own calls are overheard.
    """

    def __init__(self, sampler: Any) -> None:
        self._gather = sampler.gather_logprobs
        self._greedy = sampler.greedy_sample
        self._sampling = False
        sampler.register_forward_pre_hook(self._begin)
        sampler.register_forward_hook(self._end)
        sampler.topk_topp_sampler.register_forward_pre_hook(self._overhear_draw)
        sampler.greedy_sample = self._greedy_sample
        sampler.gather_logprobs = self._gather_logprobs

    def again(self, redraws: Sequence[Redraw]) -> list[list[int]]:
        """The token ids of further candidates, one list per redraw, in draw order.

        A random row draws with replacement from its request's own generator; no other request's
        generator moves. A greedy row gives its most probable tokens, ties by token id.
        """
        policies = self._policies([redraw.row for redraw in redraws])
        return [
            self._most_probable(r) if r.greedy else self._random(r, policy)
            for r, policy in zip(redraws, policies, strict=True)
        ]

    def probabilities(self, row: int, tokens: Sequence[int]) -> list[float]:
        """The probability of each token in the distribution of a row."""
        (policy,) = self._policies([row])
        return policy[torch.tensor(tokens, device=policy.device)].tolist()

    def logprob_rows(self, tokens: Mapping[int, int]) -> Any:
        """The host's table of log-probabilities for one token in each row given.

        Returns:
            The host's own record, one row per item of ``tokens``; ``None`` if nobody asked.
        """
        if self._raw is None:
            return None
        device = self._raw.device
        rows = torch.tensor(list(tokens), device=device)
        chosen = torch.tensor(list(tokens.values()), device=device)
        return self._gather(self._raw[rows], self._num_logprobs, token_ids=chosen).tolists()

    def _begin(self, *_: Any) -> None:
        self._sampling = True
        self._raw: Tensor | None = None
        self._k: Tensor | None = None
        self._p: Tensor | None = None
        self._generators: dict[int, torch.Generator] = {}

    def _end(self, *_: Any) -> None:
        self._sampling = False

    def _overhear_draw(self, _: Any, args: tuple[Any, ...]) -> None:
        if not self._sampling:
            return
        logits, self._generators, self._k, self._p = args
        # Top-k and top-p are applied in place, and applying top-p twice is not applying it once.
        unfiltered = self._k is None and self._p is None
        self._logits = logits if unfiltered else logits.clone()

    def _greedy_sample(self, logits: Tensor) -> Tensor:
        self._logits = logits
        return self._greedy(logits)

    def _gather_logprobs(self, logprobs: Tensor, num_logprobs: int, token_ids: Tensor) -> Any:
        if self._sampling:
            self._raw, self._num_logprobs = logprobs, num_logprobs
        return self._gather(logprobs, num_logprobs, token_ids=token_ids)

    def _random(self, redraw: Redraw, policy: Tensor) -> list[int]:
        """Draws with replacement; the host's own way of drawing costs a vocabulary per draw."""
        if not redraw.count:
            return []
        generator = self._generators.get(redraw.row)
        drawn = torch.multinomial(policy, redraw.count, replacement=True, generator=generator)
        # Rounding of the cumulative distribution can hit the last token, possible or not.
        return [int(token) for token in drawn[policy[drawn] > 0].tolist()]

    def _most_probable(self, redraw: Redraw) -> list[int]:
        logits = self._logits[redraw.row]
        values, tokens = logits.sort(descending=True, stable=True)
        values, tokens = values[: redraw.count + 1], tokens[: redraw.count + 1]
        return tokens[values > -torch.inf].tolist()

    def _policies(self, rows: Sequence[int]) -> Tensor:
        """The distributions of rows, ``[rows, vocabulary]``."""
        index = torch.tensor(rows, device=self._logits.device)
        logits = self._logits[index]
        if self._k is not None or self._p is not None:
            k = None if self._k is None else self._k[index]
            p = None if self._p is None else self._p[index]
            logits = apply_top_k_top_p(logits, k, p)
        return logits.softmax(dim=-1, dtype=torch.float32)
