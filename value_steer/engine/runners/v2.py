"""Model Runner V2: state per request on the device, and a batch made anew for every step."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

from value_steer.engine.draws import draw, most_probable, probabilities
from value_steer.engine.looks import Look

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor
    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.engine.draws import Redraw

_MIX = 0x9E3779B97F4A7C15
"""An odd constant that spreads consecutive positions over all seeds (the golden ratio)."""


class RunnerV2:
    """See :class:`value_steer.engine.runners.ModelRunner`.

    The logits of a step are computed in its second call, so running ahead computes none.

    Args:
        runner: The host's.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def take_look(self) -> Look:
        """See :meth:`ModelRunner.take_look`."""
        runner = self._runner
        state, runner.execute_model_state = runner.execute_model_state, None
        batch = state.input_batch
        return Look(list(batch.req_ids), state.hidden_states[batch.logits_indices], state)

    def can_reinstate(self, look: Look, ids: Sequence[str]) -> bool:
        """Only the whole batch can go on: its rows are views of buffers of one layout."""
        return set(ids) == set(look.ids)

    def reinstate(self, look: Look, step: SchedulerOutput) -> None:
        """See :meth:`ModelRunner.reinstate`: what precedes the forward pass of a step."""
        runner = self._runner
        runner.finish_requests(step)
        runner.free_states(step)
        runner.add_requests(step)
        runner.update_requests(step)
        runner.block_tables.apply_staged_writes()
        runner.execute_model_state = look.state

    def book(self, request_id: str, position: int, token: int) -> None:
        """See :meth:`ModelRunner.book`."""
        runner = self._runner
        states = runner.req_states
        row = states.req_id_to_index[request_id]
        counts = runner.sampler.penalties_state.output_bin_counts
        counts[row, states.last_sampled_tokens[row, 0]] -= 1
        counts[row, token] += 1
        states.last_sampled_tokens[row] = token
        states.all_token_ids.gpu[row, position] = token

    def take_back(self, request_id: str, position: int, look: Look, feature: Tensor) -> None:
        """See :meth:`ModelRunner.take_back`."""
        runner, states = self._runner, self._runner.req_states
        row = states.req_id_to_index[request_id]
        counts = runner.sampler.penalties_state.output_bin_counts
        counts[row, states.last_sampled_tokens[row, 0]] -= 1
        states.last_sampled_tokens[row] = states.all_token_ids.gpu[row, position]
        states.total_len.gpu[row] -= 1
        states.num_computed_tokens.gpu[row] -= 1
        batch = look.state.input_batch
        at = batch.logits_indices[look.ids.index(request_id)]
        look.state.hidden_states[at] = feature

    def blocks(self, request_id: str) -> Iterable[int]:
        """See :meth:`ModelRunner.blocks`."""
        row = self._runner.req_states.req_id_to_index[request_id]
        counts: list[int] = self._runner.block_tables.num_blocks.np[:, row].tolist()
        return counts


class DrawsV2:
    """See :class:`value_steer.engine.runners.Draws`.

    The host draws by hashing a request's seed and position. So do further draws: a generator of
    their own is seeded by both, and a request that is sent again gives the same ones.

    Args:
        sampler: The host's sampler, whose ``sample`` is overheard.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        self._sample = sampler.sample
        self._signature = inspect.signature(sampler.sample)
        sampler.sample = self._overhear
        # A fused kernel would not give back the distribution that it draws from.
        sampler.use_flashinfer = sampler.use_xpu_sampler = False

    def again(self, redraws: Sequence[Redraw]) -> list[list[int]]:
        """See :meth:`Draws.again`."""
        policies = probabilities(self._processed[[redraw.row for redraw in redraws]])
        return [
            most_probable(self._processed[r.row], r.count)
            if r.greedy
            else draw(policy, r.count, self._generator(r.row))
            for r, policy in zip(redraws, policies, strict=True)
        ]

    def probabilities(self, row: int, tokens: Sequence[int]) -> list[float]:
        """See :meth:`Draws.probabilities`."""
        (policy,) = probabilities(self._processed[[row]])
        return policy[torch.tensor(tokens, device=policy.device)].tolist()

    def rewrite(self, table: Any, tokens: Mapping[int, int]) -> None:
        """See :meth:`Draws.rewrite`: the first column is the sampled token's."""
        mode = self._sampler.logprobs_mode
        scores = self._processed if mode.startswith("processed") else self._raw
        for row, token in tokens.items():
            own = scores[row].float()
            value = own[token] if mode.endswith("logits") else own[token] - own.logsumexp(0)
            table.logprob_token_ids[row, 0] = token
            table.logprobs[row, 0] = value.item()
            table.sampled_token_ranks[row] = int((own >= own[token]).sum())

    def _overhear(self, logits: Tensor, *args: Any, **kwargs: Any) -> Any:
        given = self._signature.bind(logits, *args, **kwargs).arguments
        self._raw, self._requests, self._positions = logits, given["idx_mapping_np"], given["pos"]
        sampled, self._processed = self._sample(logits, *args, **kwargs)
        return sampled, self._processed

    def _generator(self, row: int) -> torch.Generator:
        seed = int(self._sampler.sampling_states.seeds.np[self._requests[row]])
        mixed = (seed + _MIX * (int(self._positions[row]) + 1)) % (1 << 63)
        return torch.Generator(device=self._processed.device).manual_seed(mixed)
