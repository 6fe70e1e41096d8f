"""The abstention decision on one sampled batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from value_steer.engine.forcing.forced import ENDS, FORCED
from value_steer.engine.host_copy import HostCopies, on_accelerator
from value_steer.policy import below_threshold, replace_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from vllm.v1.outputs import SamplerOutput

    from value_steer.engine.forcing.forced import ForcedStep, Forcing
    from value_steer.engine.rows import Rows
    from value_steer.engine.scoring import Heads
    from value_steer.engine.speculation.rows import FlatRows
    from value_steer.engine.streaks import Streaks


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions about a batch, on the host.

    Attributes:
        values: P(good), ``[rows]`` fp32, NaN where a row is not judged any more.
        marks: ``[rows]`` uint8, the bits of :mod:`value_steer.engine.forcing.forced`; or bool,
            where each row that is forced ends.
        quiet: Whether no row has any, as in nearly every step.
    """

    values: np.ndarray
    marks: np.ndarray
    quiet: bool

    def rows(self, mark: int) -> list[int]:
        """The rows that have a mark."""
        if self.marks.dtype == bool:  # every one of them ends
            return np.flatnonzero(self.marks).tolist() if mark & (FORCED | ENDS) else []
        return np.flatnonzero(self.marks & mark).tolist()


class Judgement:
    """The head's scores of a batch, and the fate of its rows.

    Args:
        values: P(good), ``[rows]`` fp32; on their way to the host from now on.
        forced: Rows whose sampled token is replaced, ``[rows]`` bool.
        tokens: By which token, ``[rows]`` int32.
        marks: What is decided, see :class:`Decided`; ``forced`` where each of those rows ends.
    """

    def __init__(self, values: Tensor, forced: Tensor, tokens: Tensor, marks: Tensor) -> None:
        self.forced, self.tokens = forced, tokens
        self._copies = HostCopies(values, marks)
        self._decided: Decided | None = None

    @property
    def may_force(self) -> bool:
        """Whether any row is forced; on an accelerator, which asking would stall, it may be."""
        return on_accelerator(self.forced) or not self.arrived().quiet

    def arrived(self) -> Decided:
        """The decisions, after a wait for them."""
        if self._decided is None:
            values, marks = self._copies.arrived()
            self._decided = Decided(values, marks, quiet=not marks.any())
        return self._decided


class Abstainer:
    """Judges the hidden state of each row against its threshold.

    Args:
        score: P(good) of hidden states ``[rows, hidden]``.
        streaks: How long requests have been below their thresholds.
        agree: Makes a mask the same on all ranks that must sample the same tokens.
        forcing: What the rows do that fire.
    """

    def __init__(
        self,
        score: Heads,
        streaks: Streaks,
        agree: Callable[[Tensor], Tensor],
        forcing: Forcing,
    ) -> None:
        self._score = score
        self._streaks = streaks
        self._agree = agree
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
            refused: Rows whose last token value filtering rolls back, ``[rows]`` bool; ``None``:
                it takes none back.
        """
        forced = None
        if self._forcing.active:
            forced = self._forcing.step(rows.positions, rows.stop_tokens)
        tokens = rows.stop_tokens if forced is None else forced.tokens
        stop_tokens = StopTokens.read(logits, tokens, rows)
        values = self._score(feature, rows.heads)
        fired = self._fired(values, rows, _open(rows, refused, forced), stop_tokens.possible)
        if forced is None:
            return Judgement(values, fired, tokens, fired), stop_tokens
        running = forced.running if refused is None else forced.running & ~refused
        marks = self._forcing.settle(forced, fired, running)
        values = values.masked_fill(forced.begun, torch.nan)
        return Judgement(values, fired | running, tokens, marks), stop_tokens

    def _fired(
        self, values: Tensor, rows: Rows, mask: Tensor | None, possible: Tensor | None
    ) -> Tensor:
        """Rows that fire in this step."""
        fired = below_threshold(values, rows.thresholds)
        if mask is not None:
            fired = fired & mask
        if self._streaks.counts:
            judged = rows.mask if mask is None else mask
            self._streaks.reserve(rows.max_slot + 1)
            fired = self._streaks.extend(fired, judged, rows.slots, rows.positions, rows.later)
        if possible is not None:
            fired = fired & possible
        return self._agree(fired)


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
    """Logits of the tokens that rows may be forced to give, read before sampling.

    The host's sampler works on the logits in place, so this cannot be read afterwards.

    Attributes:
        possible: ``[rows]`` bool, where the grammar allows the token; ``None`` without a grammar.
        scores: For callers who asked for log-probabilities; ``None`` if nobody did.
    """

    possible: Tensor | None
    scores: StopScores | None

    @classmethod
    def read(cls, logits: Tensor, tokens: Tensor, rows: Rows | FlatRows) -> StopTokens:
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
        overwrite(table.logprob_token_ids[:, 0], forced, tokens)
        overwrite(table.logprobs[:, 0], forced, self.scores.logprobs)
        overwrite(table.selected_token_ranks, forced, self.scores.ranks)


def overwrite(target: Tensor, where: Tensor, values: Tensor) -> None:
    """Write ``values`` into ``target`` in place, ``where`` that is asked for."""
    target.copy_(torch.where(where, values.to(target.dtype), target))
