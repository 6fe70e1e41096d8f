"""Model Runner V1: a persistent batch with the tokens of its requests on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p

from value_steer.engine.draws import draw, most_probable, probabilities
from value_steer.engine.looks import Look

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor
    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.engine.draws import Redraw
    from value_steer.engine.hooks import FeatureTap


class RunnerV1:
    """See :class:`value_steer.engine.runners.ModelRunner`.

    Args:
        runner: The host's.
        tap: Where it computes its logits.
    """

    def __init__(self, runner: Any, tap: FeatureTap) -> None:
        self._runner = runner
        self._tap = tap

    def take_look(self) -> Look:
        """See :meth:`ModelRunner.take_look`."""
        runner = self._runner
        state, runner.execute_model_state = runner.execute_model_state, None
        feature, self._tap.feature = self._tap.feature, None
        assert feature is not None  # noqa: S101  (the step went through the tap)
        return Look(list(runner.input_batch.req_ids), feature, state)

    def can_reinstate(self, look: Look, ids: Sequence[str]) -> bool:
        """Any part of the batch can go on."""
        return set(ids) <= set(look.ids)

    def reinstate(self, look: Look, step: SchedulerOutput) -> None:
        """See :meth:`ModelRunner.reinstate`; the logits were left out and are computed now."""
        runner = self._runner
        runner._update_states(step)  # noqa: SLF001
        feature = _in_order(look, runner.input_batch.req_ids)
        runner.execute_model_state = look.state._replace(
            scheduler_output=step,
            logits=self._tap(feature),
            hidden_states=feature,
            sample_hidden_states=feature,
        )

    def book(self, request_id: str, position: int, token: int) -> None:
        """See :meth:`ModelRunner.book`."""
        runner = self._runner
        row = runner.input_batch.req_id_to_index.get(request_id)
        if row is not None:  # a request that was ended and is taken up again has none yet
            runner.input_batch.token_ids_cpu[row, position] = token
        runner.requests[request_id].output_token_ids[-1] = token

    def take_back(self, request_id: str, position: int, look: Look, feature: Tensor) -> None:
        """See :meth:`ModelRunner.take_back`.

        The runner itself drops the token when the scheduler tells it, at the next step, how many
        response tokens there are.
        """
        del position
        look.feature[look.ids.index(request_id)] = feature

    def blocks(self, request_id: str) -> Iterable[int]:
        """See :meth:`ModelRunner.blocks`."""
        return map(len, self._runner.requests[request_id].block_ids)


class DrawsV1:
    """See :class:`value_steer.engine.runners.Draws`.

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
        """See :meth:`Draws.again`; a random row draws from its request's own generator."""
        policies = probabilities(self._logits_of([redraw.row for redraw in redraws]))
        return [
            most_probable(self._logits[r.row], r.count)
            if r.greedy
            else draw(policy, r.count, self._generators.get(r.row))
            for r, policy in zip(redraws, policies, strict=True)
        ]

    def probabilities(self, row: int, tokens: Sequence[int]) -> list[float]:
        """See :meth:`Draws.probabilities`."""
        (policy,) = probabilities(self._logits_of([row]))
        return policy[torch.tensor(tokens, device=policy.device)].tolist()

    def rewrite(self, table: Any, tokens: Mapping[int, int]) -> None:
        """See :meth:`Draws.rewrite`."""
        if self._raw is None:  # the host gave out something else than the table of a vocabulary
            return
        rows = list(tokens)
        raw = self._raw[torch.tensor(rows, device=self._raw.device)]
        chosen = torch.tensor(list(tokens.values()), device=raw.device)
        own = self._gather(raw, self._num_logprobs, token_ids=chosen).tolists()
        table.logprob_token_ids[rows] = own.logprob_token_ids
        table.logprobs[rows] = own.logprobs
        table.sampled_token_ranks[rows] = own.sampled_token_ranks

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

    def _logits_of(self, rows: Sequence[int]) -> Tensor:
        """The logits of rows, ``[rows, vocabulary]``, with top-k and top-p applied."""
        index = torch.tensor(rows, device=self._logits.device)
        logits = self._logits[index]
        if self._k is None and self._p is None:
            return logits
        k = None if self._k is None else self._k[index]
        return apply_top_k_top_p(logits, k, None if self._p is None else self._p[index])


def _in_order(look: Look, ids: list[str]) -> Tensor:
    """The features of these requests, ``[rows, hidden]``, in this order."""
    if ids == look.ids:
        return look.feature
    row_of = {name: row for row, name in enumerate(look.ids)}
    rows = torch.tensor([row_of[name] for name in ids], device=look.feature.device)
    return look.feature[rows]
