"""Each row whose token was accepted is judged; the first that fires cuts the rest off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from value_steer.engine.abstain import overwrite
from value_steer.engine.delivery.report import Span
from value_steer.engine.host_copy import HostCopies
from value_steer.policy import below_threshold

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from vllm.v1.outputs import SamplerOutput

    from value_steer.engine.abstain import StopScores
    from value_steer.engine.delivery.report import Ending, StepReport
    from value_steer.engine.scoring import Heads
    from value_steer.engine.speculation.rows import DraftRows
    from value_steer.engine.streaks import Streaks

REJECTED = -1
"""The host's rejection sampler's mark for a token that is not given out."""


@dataclass(frozen=True, slots=True)
class DraftJudgement:
    """The head's scores of a batch of drafts, and what follows from them.

    Attributes:
        fired: Rows whose token is replaced by a stop token, ``[requests, width]`` bool; one of a
            request at most.
        cut: Rows behind such a one, ``[requests, width]`` bool.
        copies: The values, the judged rows, the fired ones and the positions, on their way.
    """

    fired: Tensor
    cut: Tensor
    copies: HostCopies


class DraftJudge:
    """Judges the hidden state of each row against its request's threshold.

    Args:
        score: P(good) of hidden states ``[rows, hidden]``.
        streaks: How long requests have been below their thresholds.
        agree: Makes a mask the same on all ranks that must sample the same tokens.
    """

    def __init__(
        self,
        score: Heads,
        streaks: Streaks,
        agree: Callable[[Tensor], Tensor],
    ) -> None:
        self._score = score
        self._streaks = streaks
        self._agree = agree

    def judge(
        self, feature: Tensor, rows: DraftRows, sampled: Tensor, possible: Tensor | None
    ) -> DraftJudgement:
        """Decide where requests end.

        Args:
            feature: The hidden states that ``lm_head`` consumed, ``[rows, hidden]``.
            rows: The batch.
            sampled: The tokens, ``[requests, width]``; :data:`REJECTED` where there is none.
            possible: Rows that a grammar lets end, ``[rows]`` bool; ``None``: all.
        """
        values = self._score(feature, rows.flat.heads)[rows.at]
        judged = rows.judged & (sampled != REJECTED)
        fired = below_threshold(values, rows.thresholds.unsqueeze(1)) & judged
        if self._streaks.counts:
            fired = self._persistent(fired, judged, rows)
        if possible is not None:
            fired = fired & possible[rows.at]
        fired = self._agree(fired)
        cut = (fired.cumsum(1) - fired.long()) > 0
        fired, judged = fired & ~cut, judged & ~cut
        copies = HostCopies(values, judged, fired, rows.positions)
        return DraftJudgement(fired, cut, copies)

    def _persistent(self, below: Tensor, judged: Tensor, rows: DraftRows) -> Tensor:
        self._streaks.reserve(rows.most_slots)
        columns = [
            self._streaks.extend(
                below[:, step],
                judged[:, step],
                rows.slots,
                rows.positions[:, step],
                rows.positions[:, step] > rows.first,
            )
            for step in range(below.shape[1])
        ]
        return torch.stack(columns, dim=1)


def end_drafts(
    output: SamplerOutput, judgement: DraftJudgement, rows: DraftRows, scores: StopScores | None
) -> None:
    """End the fired requests: a stop token in the fired row, and nothing behind it.

    Args:
        output: What the host's sampler gave, changed in place.
        judgement: Where they end.
        rows: The batch.
        scores: How probable the model itself found the stop tokens, by row of the logits; ``None``
            if nobody asked.
    """
    sampled = output.sampled_token_ids
    stop_tokens = rows.stop_tokens.to(sampled.dtype).unsqueeze(1)
    ended = torch.where(judgement.fired, stop_tokens, sampled)
    output.sampled_token_ids = ended.masked_fill_(judgement.cut, REJECTED)
    table = output.logprobs_tensors
    if scores is None or table is None or not len(table.logprob_token_ids):
        return
    # The host's table has a line for every place in the table of tokens.
    fired, at = judgement.fired.flatten(), rows.at.flatten()
    overwrite(table.logprob_token_ids[:, 0], fired, stop_tokens.expand_as(sampled).flatten())
    overwrite(table.logprobs[:, 0], fired, scores.logprobs[at])
    overwrite(table.selected_token_ranks, fired, scores.ranks[at])


@dataclass(frozen=True, slots=True)
class DraftCompletion:
    """Completes the report of a step with what was on its way from the device."""

    judgement: DraftJudgement | None
    rows: DraftRows

    def __call__(self, report: StepReport) -> dict[str, Ending]:
        """Write the values; returns why tokens end requests, by request."""
        if self.judgement is None:
            return {}
        values, judged, fired, positions = self.judgement.copies.arrived()
        endings = {}
        for line in np.flatnonzero(judged.any(axis=1)).tolist():
            name = self.rows.ids[line]
            seen = np.where(judged[line], values[line], np.nan).astype(np.float32)
            at = int(fired[line].argmax()) if fired[line].any() else None
            report.spans[name] = Span(int(positions[line, 0]), seen, at)
            if at is not None:
                endings[name] = self.rows.endings[line]
        return endings
