"""The abstention decision on one sampled batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from value_steer.engine.host_copy import HostCopies, on_accelerator
from value_steer.policy import below_threshold, end_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from vllm.v1.outputs import SamplerOutput

    from value_steer.engine.rows import Rows
    from value_steer.engine.speculation.rows import FlatRows
    from value_steer.engine.streaks import Streaks


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the head says of a batch.

    Attributes:
        values: P(good), ``[rows]`` fp32.
        fired: Rows to end, ``[rows]`` bool.
        copies: Both on their way to the host.
    """

    values: Tensor
    fired: Tensor
    copies: HostCopies

    @property
    def may_end(self) -> bool:
        """Whether any row ends; on an accelerator, which asking would stall, it may."""
        return on_accelerator(self.fired) or bool(self.fired.any())


class Abstainer:
    """Judges the hidden state of each row against its threshold.

    Args:
        score: P(good) of hidden states ``[rows, hidden]``.
        streaks: How long requests have been below their thresholds.
        agree: Makes a mask the same on all ranks that must sample the same tokens.
    """

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        streaks: Streaks,
        agree: Callable[[Tensor], Tensor],
    ) -> None:
        self._score = score
        self._streaks = streaks
        self._agree = agree

    def judge(
        self,
        feature: Tensor,
        rows: Rows,
        possible: Tensor | None,
        refused: Tensor | None,
    ) -> Judgement:
        """Decide which rows end.

        Args:
            feature: The hidden states that ``lm_head`` consumed, ``[rows, hidden]``.
            rows: The batch, in the same order.
            possible: Rows that a grammar lets end, ``[rows]`` bool; ``None``: all.
            refused: Rows whose last token value filtering takes back, ``[rows]`` bool; ``None``:
                it takes none back.
        """
        values = self._score(feature)
        fired = below_threshold(values, rows.thresholds)
        mask = None if rows.all_judged else rows.mask
        if refused is not None:
            mask = rows.mask & ~refused
        if mask is not None:
            fired = fired & mask
        if self._streaks.counts:
            judged = rows.mask if mask is None else mask
            self._streaks.reserve(rows.max_slot + 1)
            fired = self._streaks.extend(fired, judged, rows.slots, rows.positions, rows.later)
        if possible is not None:
            fired = fired & possible
        fired = self._agree(fired)
        return Judgement(values, fired, HostCopies(values, fired))


@dataclass(frozen=True, slots=True)
class StopScores:
    """How probable the model itself found the tokens that would end the rows.

    Attributes:
        logprobs: ``[rows]``, natural logarithm.
        ranks: ``[rows]``, 1 for the most probable token of the vocabulary.
    """

    logprobs: Tensor
    ranks: Tensor


@dataclass(frozen=True, slots=True)
class StopTokens:
    """What the logits say of the tokens that would end the rows, read before they are sampled.

    The host's sampler works on the logits in place, so this cannot be read afterwards.

    Attributes:
        possible: ``[rows]`` bool, where the grammar lets the row end; ``None`` without a grammar.
        scores: For callers who asked for log-probabilities; ``None`` if nobody did.
    """

    possible: Tensor | None
    scores: StopScores | None

    @classmethod
    def read(cls, logits: Tensor, rows: Rows | FlatRows) -> StopTokens:
        """Look the stop tokens up in ``logits`` ``[rows, vocabulary]``."""
        if not (rows.constrained or rows.wants_logprobs):
            return cls(None, None)
        chosen = logits.gather(1, rows.stop_tokens.long().unsqueeze(1))
        possible = chosen.squeeze(1) > -torch.inf if rows.constrained else None
        if not rows.wants_logprobs:
            return cls(possible, None)
        logprobs = chosen.squeeze(1).float() - logits.float().logsumexp(1)
        return cls(possible, StopScores(logprobs, ranks=(logits >= chosen).sum(1)))

    def end(self, output: SamplerOutput, fired: Tensor, rows: Rows) -> None:
        """End the fired rows: their sampled token and its log-probability are replaced."""
        sampled = output.sampled_token_ids
        stop_tokens = rows.stop_tokens.to(sampled.dtype)
        output.sampled_token_ids = end_rows(sampled, fired, stop_tokens)
        table = output.logprobs_tensors
        if self.scores is None or table is None or not len(table.logprob_token_ids):
            return
        # Column 0 of the host's table is the sampled token, the rest are the most probable ones.
        overwrite(table.logprob_token_ids[:, 0], fired, stop_tokens)
        overwrite(table.logprobs[:, 0], fired, self.scores.logprobs)
        overwrite(table.selected_token_ranks, fired, self.scores.ranks)


def overwrite(target: Tensor, where: Tensor, values: Tensor) -> None:
    """Write ``values`` into ``target`` in place, ``where`` that is asked for."""
    target.copy_(torch.where(where, values.to(target.dtype), target))
