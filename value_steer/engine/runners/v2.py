"""Model Runner V2: state per request on the device, and a batch made anew for every step."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from value_steer.engine.runners.v1 import score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Generator, Tensor

    from value_steer.engine.delivery.outbox import Score

_MIX = 0x9E3779B97F4A7C15
"""An odd constant that spreads consecutive positions over all seeds (the golden ratio)."""


class RunnerV2:
    """See :class:`value_steer.engine.runners.ModelRunner`.

    Args:
        runner: The host's.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def run_again(self, output: Any, tokens: Mapping[int, int], ids: Sequence[str]) -> None:
        """See :meth:`ModelRunner.run_again`: the host appends what it samples and moves on by one.

        So every count of a row goes back by one first.
        """
        states, counts = (
            self._runner.req_states,
            self._runner.sampler.penalties_state.output_bin_counts,
        )
        sampled = output.sampled_token_ids
        device = sampled.device
        slots = torch.tensor([states.req_id_to_index[ids[row]] for row in tokens], device=device)
        rows = torch.tensor(list(tokens), device=device)
        last = states.last_sampled_tokens[slots].flatten().long()
        counts[slots, last] -= 1
        states.total_len.gpu[slots] -= 1
        states.num_computed_tokens.gpu[slots] -= 1
        sampled[rows, 0] = torch.tensor(list(tokens.values()), dtype=sampled.dtype, device=device)

    def generator(self, request_id: str) -> Generator | None:
        """The host draws by hashing a request's seed and position."""
        del request_id
        return None


@dataclass(frozen=True, slots=True)
class DistributionsV2:
    """See :class:`value_steer.engine.runners.Distributions`.

    Attributes:
        processed: ``[rows, vocabulary]``.
        table: What the host takes its table of log-probabilities from.
        logits_mode: Whether that table holds logits.
        seeds: Of each row's request.
        positions: ``[rows]``, of the token that was sampled from.
    """

    processed: Tensor
    table: Tensor
    logits_mode: bool
    seeds: Sequence[int]
    positions: Tensor

    def of(self, rows: Sequence[int]) -> Tensor:
        """See :meth:`Distributions.of`."""
        return self.processed[torch.tensor(rows, device=self.processed.device)]

    def generators(self, rows: Sequence[int]) -> Sequence[Generator | None]:
        """Seeded by the request's seed and the position, so a request sent again draws the same."""
        device = self.positions.device
        positions = self.positions[list(rows)].tolist()
        mixed = (
            (int(self.seeds[row]) + _MIX * (position + 1)) % (1 << 63)
            for row, position in zip(rows, positions, strict=True)
        )
        return [torch.Generator(device=device).manual_seed(seed) for seed in mixed]

    def score(self, row: int, token: int) -> Score | None:
        """See :meth:`Distributions.score`."""
        values = self.table[row].float()
        return score(values if self.logits_mode else values - values.logsumexp(0), token)


class DrawsV2:
    """See :class:`value_steer.engine.runners.Draws`.

    Args:
        sampler: The host's sampler, whose ``sample`` is intercepted.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        self._sample = sampler.sample
        self._signature = inspect.signature(sampler.sample)
        sampler.sample = self._intercept
        # A fused kernel would not give back the distribution that it draws from.
        sampler.use_flashinfer = sampler.use_xpu_sampler = False

    def take(self) -> DistributionsV2:
        """See :meth:`Draws.take`."""
        mode = self._sampler.logprobs_mode
        table = self._processed if mode.startswith("processed") else self._raw
        seeds = self._sampler.sampling_states.seeds.np[self._requests]
        return DistributionsV2(
            self._processed, table, mode.endswith("logits"), seeds, self._positions
        )

    def _intercept(self, logits: Tensor, *args: Any, **kwargs: Any) -> Any:
        given = self._signature.bind(logits, *args, **kwargs).arguments
        self._raw, self._requests, self._positions = logits, given["idx_mapping_np"], given["pos"]
        sampled, self._processed = self._sample(logits, *args, **kwargs)
        return sampled, self._processed
