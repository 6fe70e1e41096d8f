"""The abstention decision on one sampled batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from value_steer.engine.forcing.forced import ENDS, FORCED
from value_steer.engine.host_copy import HostCopies, on_accelerator
from value_steer.errors import SteeringError
from value_steer.policy import below_threshold, extend_streaks, replace_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from vllm.v1.outputs import SamplerOutput

    from value_steer.engine.forcing.forced import ForcedStep, Forcing
    from value_steer.engine.rows import Rows
    from value_steer.engine.scoring import Heads


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided of a batch, on the host.

    Attributes:
        values: P(good), ``[rows]`` fp32, NaN where a row is not judged any more.
        marks: ``[rows]`` uint8, the bits of :mod:`value_steer.engine.forcing.forced`.
    """

    values: np.ndarray
    marks: np.ndarray

    def rows(self, mark: int) -> list[int]:
        """The rows that have a mark."""
        return np.flatnonzero(self.marks & mark).tolist()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the head says of a batch, and what becomes of its rows.

    Attributes:
        forced: Rows whose sampled token is replaced, ``[rows]`` bool.
        tokens: By which token, ``[rows]`` int32.
        copies: On their way to the host: the values, and what is decided (``forced`` where each of
            those rows ends).
    """

    forced: Tensor
    tokens: Tensor
    copies: HostCopies

    @property
    def may_force(self) -> bool:
        """Whether any row is forced; on an accelerator, which asking would stall, it may be."""
        return on_accelerator(self.forced) or bool(self.forced.any())

    def arrived(self) -> Decided:
        """What was decided, after a wait for it.

        Raises:
            SteeringError: Nothing was.
        """
        values, marks = self.copies.arrived()
        if values is None or marks is None:
            msg = "a judgement without values"
            raise SteeringError(msg)
        if marks.dtype == torch.bool:
            marks = marks.to(torch.uint8) * (FORCED | ENDS)
        return Decided(values.numpy(), marks.numpy())


class Abstainer:
    """Judges the hidden state of each row against its threshold.

    Args:
        score: P(good) of hidden states ``[rows, hidden]``.
        device: Where they are.
        patience: Consecutive response tokens below the threshold before a row fires.
        agree: Makes a mask the same on all ranks that must sample the same tokens.
        forcing: What the rows do that fire.
    """

    def __init__(
        self,
        score: Heads,
        device: torch.device,
        patience: int,
        agree: Callable[[Tensor], Tensor],
        forcing: Forcing,
    ) -> None:
        self._score = score
        self._patience = patience
        self._agree = agree
        self._streaks = torch.zeros(0, dtype=torch.int32, device=device)
        self._forcing = forcing

    def judge(
        self,
        feature: Tensor,
        rows: Rows,
        logits: Tensor,
        refused: Tensor | None,
    ) -> tuple[Judgement, StopTokens]:
        """Decide which rows fire, and which go on with what they are made to say.

        Args:
            feature: The hidden states that ``lm_head`` consumed, ``[rows, hidden]``.
            rows: The batch, in the same order.
            logits: ``[rows, vocabulary]``, before they are sampled.
            refused: Rows whose last token value filtering takes back, ``[rows]`` bool; ``None``:
                it takes none back.
        """
        forced = self._forcing.step(rows.stop_tokens) if self._forcing.active else None
        tokens = rows.stop_tokens if forced is None else forced.tokens
        stop_tokens = StopTokens.read(logits, tokens, rows)
        values = self._score(feature, rows.heads)
        fired = self._fired(values, rows, _open(rows, refused, forced), stop_tokens.possible)
        if forced is None:
            return Judgement(fired, tokens, HostCopies(values, fired)), stop_tokens
        running = forced.running
        for allowed in (stop_tokens.possible, None if refused is None else ~refused):
            running = running if allowed is None else running & allowed
        marks = self._forcing.settle(forced, fired, running)
        # A step that is taken again says again by which value its row fired.
        values = values.masked_fill(forced.begun & ~forced.first, torch.nan)
        return Judgement(fired | running, tokens, HostCopies(values, marks)), stop_tokens

    def _fired(
        self, values: Tensor, rows: Rows, mask: Tensor | None, possible: Tensor | None
    ) -> Tensor:
        """Rows that fire in this step."""
        fired = below_threshold(values, rows.thresholds)
        if mask is not None:
            fired = fired & mask
        if self._patience > 1:
            fired = self._persistent(fired, rows, rows.mask if mask is None else mask)
        if possible is not None:
            fired = fired & possible
        return self._agree(fired)

    def _persistent(self, below: Tensor, rows: Rows, mask: Tensor) -> Tensor:
        """Rows that have been below for as many tokens as patience asks."""
        self._reserve(rows.max_slot + 1)
        before = self._streaks[rows.slots] * rows.known
        now = extend_streaks(before, below, rows.advance)
        self._streaks[rows.slots] = torch.where(mask, now, before)
        rows.step_on()
        return below & (now >= self._patience)

    def _reserve(self, slots: int) -> None:
        missing = slots - len(self._streaks)
        if missing > 0:
            self._streaks = torch.cat([self._streaks, self._streaks.new_zeros(missing + slots)])


def _open(rows: Rows, refused: Tensor | None, forced: ForcedStep | None) -> Tensor | None:
    """Rows that may fire, ``[rows]`` bool; ``None``: all."""
    mask = None if rows.all_judged else rows.mask
    if refused is not None:
        mask = rows.mask & ~refused
    if forced is not None:  # what has fired is not judged again
        mask = (rows.mask if mask is None else mask) & ~forced.begun
    return mask


@dataclass(frozen=True, slots=True)
class StopScores:
    """How probable the model itself found the tokens that the rows may be forced to give.

    Attributes:
        logprobs: ``[rows]``, natural logarithm.
        ranks: ``[rows]``, 1 for the most probable token of the vocabulary.
    """

    logprobs: Tensor
    ranks: Tensor


@dataclass(frozen=True, slots=True)
class StopTokens:
    """What the logits say of the tokens that rows may be forced to give, read before sampling.

    The host's sampler works on the logits in place, so this cannot be read afterwards.

    Attributes:
        possible: ``[rows]`` bool, where the grammar allows the token; ``None`` without a grammar.
        scores: For callers who asked for log-probabilities; ``None`` if nobody did.
    """

    possible: Tensor | None
    scores: StopScores | None

    @classmethod
    def read(cls, logits: Tensor, tokens: Tensor, rows: Rows) -> StopTokens:
        """Look up in ``logits`` ``[rows, vocabulary]`` what the rows would be forced to give."""
        if not (rows.constrained or rows.wants_logprobs):
            return cls(None, None)
        chosen = logits.gather(1, tokens.long().unsqueeze(1))
        possible = chosen.squeeze(1) > -torch.inf if rows.constrained else None
        if not rows.wants_logprobs:
            return cls(possible, None)
        logprobs = chosen.squeeze(1).float() - logits.float().logsumexp(1)
        return cls(possible, StopScores(logprobs, ranks=(logits >= chosen).sum(1)))

    def force(self, output: SamplerOutput, judgement: Judgement) -> None:
        """Replace the sampled token of the forced rows, and its log-probability."""
        sampled, forced = output.sampled_token_ids, judgement.forced
        tokens = judgement.tokens.to(sampled.dtype)
        output.sampled_token_ids = replace_tokens(sampled, forced, tokens)
        table = output.logprobs_tensors
        if self.scores is None or table is None or not len(table.logprob_token_ids):
            return
        # Column 0 of the host's table is the sampled token, the rest are the most probable ones.
        _overwrite(table.logprob_token_ids[:, 0], forced, tokens)
        _overwrite(table.logprobs[:, 0], forced, self.scores.logprobs)
        _overwrite(table.selected_token_ranks, forced, self.scores.ranks)


def _overwrite(target: Tensor, where: Tensor, values: Tensor) -> None:
    target.copy_(torch.where(where, values.to(target.dtype), target))
