"""Model Runner V1: a persistent batch with the tokens of its requests on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p

from value_steer.engine.delivery.outbox import Score
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Generator, Tensor


class RunnerV1:
    """See :class:`value_steer.engine.runners.ModelRunner`.

    Args:
        runner: The host's.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def run_again(self, output: Any, tokens: Mapping[int, int], ids: Sequence[str]) -> None:
        """See :meth:`ModelRunner.run_again`: the host puts what it samples behind the last one.

        So the last token is taken off first.
        """
        sampled = output.sampled_token_ids
        rows = torch.tensor(list(tokens), device=sampled.device)
        sampled[rows, 0] = torch.tensor(
            list(tokens.values()), dtype=sampled.dtype, device=sampled.device
        )
        for row in tokens:
            self._runner.input_batch.num_tokens_no_spec[row] -= 1
            self._runner.requests[ids[row]].output_token_ids.pop()

    def generator(self, request_id: str) -> Generator | None:
        """See :meth:`ModelRunner.generator`."""
        generator: Generator | None = self._runner.requests[request_id].generator
        return generator


@dataclass(frozen=True, slots=True)
class DistributionsV1:
    """See :class:`value_steer.engine.runners.Distributions`.

    Attributes:
        logits: ``[rows, vocabulary]``, before top-k and top-p.
        k: Of each row, if any row has it.
        p: Of each row, if any row has it.
        raw: What the host takes its table of log-probabilities from; ``None``: it makes none.
    """

    logits: Tensor
    k: Tensor | None
    p: Tensor | None
    raw: Tensor | None

    def of(self, rows: Sequence[int]) -> Tensor:
        """See :meth:`Distributions.of`; top-k and top-p are applied by the host's own function."""
        index = torch.tensor(rows, device=self.logits.device)
        logits = self.logits[index]
        if self.k is None and self.p is None:
            return logits
        k = None if self.k is None else self.k[index]
        return apply_top_k_top_p(logits, k, None if self.p is None else self.p[index])

    def generators(self, rows: Sequence[int]) -> Sequence[Generator | None]:
        """A random row draws on from its request's own generator."""
        return [None] * len(rows)

    def score(self, row: int, token: int) -> Score | None:
        """See :meth:`Distributions.score`."""
        return None if self.raw is None else score(self.raw[row], token)


def score(row: Tensor, token: int) -> Score:
    """The entry of a token among values of a vocabulary, ``[vocabulary]``."""
    value = row[token]
    logprob, rank = torch.stack([value.double(), (row >= value).sum().double()]).tolist()
    return Score(token, logprob, int(rank))


class DrawsV1:
    """See :class:`value_steer.engine.runners.Draws`.

    Args:
        sampler: The host's sampler, in which three of its own calls are intercepted.
    """

    def __init__(self, sampler: Any) -> None:
        self._gather = sampler.gather_logprobs
        self._greedy = sampler.greedy_sample
        self._sampling = False
        sampler.register_forward_pre_hook(self._begin)
        sampler.register_forward_hook(self._end)
        sampler.topk_topp_sampler.register_forward_pre_hook(self._intercept_draw)
        sampler.greedy_sample = self._greedy_sample
        sampler.gather_logprobs = self._gather_logprobs
        # Since vLLM 0.20 a request may ask for the log-probabilities of tokens that it names.
        self._gather_named = getattr(sampler, "gather_specific_token_logprobs", None)
        if self._gather_named is not None:
            sampler.gather_specific_token_logprobs = self._gather_named_logprobs

    def take(self) -> DistributionsV1:
        """See :meth:`Draws.take`."""
        if self._logits is None:
            msg = "the host's sampler has drawn from logits that value-steer did not see"
            raise SteeringError(msg)
        return DistributionsV1(self._logits, self._k, self._p, self._raw)

    def _begin(self, *_: Any) -> None:
        self._sampling = True
        self._logits: Tensor | None = None
        self._raw: Tensor | None = None
        self._k: Tensor | None = None
        self._p: Tensor | None = None

    def _end(self, *_: Any) -> None:
        self._sampling = False

    def _intercept_draw(self, _: Any, args: tuple[Any, ...]) -> None:
        if not self._sampling:
            return
        logits, _, self._k, self._p = args
        # Top-k and top-p are applied in place, and applying top-p twice is not applying it once.
        unfiltered = self._k is None and self._p is None
        self._logits = logits if unfiltered else logits.clone()

    def _greedy_sample(self, logits: Tensor) -> Tensor:
        self._logits = logits
        return self._greedy(logits)

    def _gather_logprobs(self, logprobs: Tensor, num_logprobs: int, token_ids: Tensor) -> Any:
        if self._sampling:
            self._raw = logprobs
        return self._gather(logprobs, num_logprobs, token_ids=token_ids)

    def _gather_named_logprobs(self, logprobs: Tensor, *args: Any, **kwargs: Any) -> Any:
        assert self._gather_named is not None  # noqa: S101  (it stands in for that one)
        if self._sampling:
            self._raw = logprobs
        return self._gather_named(logprobs, *args, **kwargs)
