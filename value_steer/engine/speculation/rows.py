"""A batch in which a request has one row per draft token, and one more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from value_steer.engine.delivery.report import Ending
from value_steer.engine.host_copy import upload
from value_steer.engine.scoring import Choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from value_steer.engine.live_request import LiveRequest
    from value_steer.engine.requests import RequestTable


@dataclass(frozen=True, slots=True)
class FlatRows:
    """The settings of every row of the logits.

    Attributes:
        stop_tokens: The token that ends the row's request, ``[rows]`` int64.
        heads: Which head scores the row.
        constrained: Whether a grammar constrains a judged row.
        wants_logprobs: Whether the caller of a judged row asked for log-probabilities.
    """

    stop_tokens: Tensor
    heads: Choice
    constrained: bool
    wants_logprobs: bool

    @classmethod
    def spread(cls, requests: Sequence[LiveRequest], counts: Tensor, rows: int) -> FlatRows:
        """Each request's settings, once per row of it.

        Args:
            requests: In the order of the batch.
            counts: Rows of each, ``[requests]`` int64.
            rows: Their sum.
        """
        judged = [r for r in requests if r.judges]
        stop_tokens = upload([max(r.stop_token, 0) for r in requests], counts)
        heads = upload([r.head for r in requests], counts)
        return cls(
            stop_tokens.repeat_interleave(counts, output_size=rows),
            Choice(
                heads.repeat_interleave(counts, output_size=rows),
                tuple(sorted({r.head for r in requests})),
            ),
            constrained=any(r.constrained for r in judged),
            wants_logprobs=any(r.wants_logprobs for r in judged),
        )


@dataclass(frozen=True, slots=True)
class DraftRows:
    """The batch as a table: a request in each line, its rows from left to right.

    Attributes:
        ids: Request ids, one per line.
        rows: Rows of the logits.
        judged_lines: Lines in which something is judged.
        at: Row of the logits, ``[requests, width]`` int64; anything where there is none.
        judged: Rows that are judged if their token is accepted, ``[requests, width]`` bool.
        drafts: Draft tokens of each request, ``[requests]`` int64; 0 in a partial prefill.
        thresholds: P(good) below which a request ends, ``[requests]`` fp32.
        positions: Tokens of each row's sequence, ``[requests, width]`` int64.
        first: Tokens of the sequence that is judged first, ``[requests]`` int64.
        slots: Indices into buffers that outlive a batch, ``[requests]`` int64.
        most_slots: One more than the largest of them.
        stop_tokens: What ends each request, ``[requests]`` int64.
        flat: The same for every row of the logits.
        endings: What the end of each request would be called.
    """

    ids: tuple[str, ...]
    rows: int
    judged_lines: int
    at: Tensor
    judged: Tensor
    drafts: Tensor
    thresholds: Tensor
    positions: Tensor
    first: Tensor
    slots: Tensor
    most_slots: int
    stop_tokens: Tensor
    flat: FlatRows
    endings: tuple[Ending, ...]

    @classmethod
    def lay_out(cls, ids: Sequence[str], table: RequestTable, behind: Tensor) -> DraftRows:
        """Lay out a batch.

        Args:
            ids: Its requests, in the order of the host's batch.
            table: The live requests.
            behind: By how many tokens the scheduler is ahead of each request, ``[requests]`` int64,
                on the device.
        """
        requests = [table[name] for name in ids]

        def line(values: Sequence[float]) -> Tensor:
            return upload(values, behind)

        counts, judged = line([r.drafts + 1 for r in requests]), [r.judges for r in requests]
        steps = torch.arange(max(r.drafts for r in requests) + 1, device=behind.device)
        starts = counts.cumsum(0) - counts
        rows = sum(r.drafts + 1 for r in requests)
        positions = (line([r.length for r in requests]) - behind).unsqueeze(1) + steps
        first = line([r.first_judged for r in requests])
        mine = line(judged).bool().unsqueeze(1) & (steps < counts.unsqueeze(1))
        return cls(
            ids=tuple(ids),
            rows=rows,
            judged_lines=sum(judged),
            at=(starts.unsqueeze(1) + steps).clamp(max=rows - 1),
            judged=mine & (positions >= first.unsqueeze(1)),
            drafts=line([r.drafts * r.complete for r in requests]),
            thresholds=upload([r.fires_below for r in requests], behind, torch.float32),
            positions=positions,
            first=first,
            slots=line([r.slot for r in requests]),
            most_slots=max(r.slot for r in requests) + 1,
            stop_tokens=line([max(r.stop_token, 0) for r in requests]),
            flat=FlatRows.spread(requests, counts, rows),
            endings=tuple(
                Ending.ABSTAINED if r.refusal is None else Ending.REFUSED for r in requests
            ),
        )
