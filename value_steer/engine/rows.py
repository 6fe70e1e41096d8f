"""The batch being sampled, as kept per-row buffers on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from value_steer.engine.delivery.report import Ending
from value_steer.engine.scoring import Choice
from value_steer.request_settings import AbstainAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from value_steer.engine.requests import RequestTable


class Buffer:
    """One value per row, kept on the device and rewritten only when the rows change."""

    def __init__(self, rows: int, dtype: torch.dtype, device: torch.device) -> None:
        self._values = torch.zeros(rows, dtype=dtype, device=device)
        self._pinned = device.type != "cpu"

    def write(self, values: Sequence[float]) -> Tensor:
        """Store one value per row and return the device's view of them, shape ``[rows]``."""
        view = self._values[: len(values)]
        # A fresh host tensor each time: an earlier asynchronous copy may still be reading the old.
        staged = torch.tensor(values, dtype=view.dtype, pin_memory=self._pinned)
        view.copy_(staged, non_blocking=self._pinned)
        return view


@dataclass(frozen=True, slots=True)
class Layout:
    """Who is in which row, as the batch was laid out.

    Attributes:
        ids: Request ids.
        judged: Whether the row is judged, ``[rows]`` bool.
        judged_rows: How many are.
        lengths: Tokens of each row's sequence as the batch was laid out, ``[rows]`` int64.
        prompts: Those of them that are its prompt, ``[rows]`` int64.
        endings: What the end of each row would be called.
    """

    ids: tuple[str, ...]
    judged: np.ndarray
    judged_rows: int
    lengths: np.ndarray
    prompts: np.ndarray
    endings: tuple[Ending, ...]


class Rows:
    """The rows of a batch, in its order, as the decision needs them.

    Attributes:
        ids: Request ids, one per row, as the host lists them.
        layout: The rows as records.
        age: By how many tokens every row has grown since.
        max_slot: Largest slot in the batch.
        all_judged: Whether every row is judged in this step.
        constrained: Whether a grammar constrains a judged row.
        wants_logprobs: Whether the caller of a judged row asked for log-probabilities.
        thresholds: ``[rows]`` fp32, P(good) below which the row ends.
        mask: ``[rows]`` bool, the judged rows.
        stop_tokens: ``[rows]`` int32, the token that ends each row's request.
        slots: ``[rows]`` int64, indices into buffers that outlive a batch.
        heads: Which head scores each row.
    """

    def __init__(self, max_rows: int, device: torch.device) -> None:
        def buffer(dtype: torch.dtype) -> Buffer:
            return Buffer(max_rows, dtype, device)

        self._thresholds = buffer(torch.float32)
        self._mask = buffer(torch.bool)
        self._stop_tokens = buffer(torch.int32)
        self._slots = buffer(torch.int64)
        self._heads = buffer(torch.int64)
        self._lengths = buffer(torch.int64)
        self._first = buffer(torch.int64)
        self.ids: list[str] = []
        self.age = 0

    @property
    def positions(self) -> Tensor:
        """Tokens of the sequence that each row judges, ``[rows]`` int64."""
        return self._placed + self.age

    @property
    def later(self) -> Tensor:
        """Rows whose request may have been judged before, ``[rows]`` bool."""
        return self.positions > self._begun

    def plan(self, ids: Sequence[str], table: RequestTable) -> None:
        """Lay out the rows of a batch whose composition changed."""
        self.ids = list(ids)
        requests = [table[request_id] for request_id in ids]
        judged = [request.judged for request in requests]
        self.layout = Layout(
            ids=tuple(ids),
            judged=np.array(judged, dtype=bool),
            judged_rows=sum(judged),
            lengths=np.array([request.length for request in requests], dtype=np.int64),
            prompts=np.array([request.prompt_length for request in requests], dtype=np.int64),
            endings=tuple(
                Ending.ABSTAINED if r.refusal is None else Ending.REFUSED for r in requests
            ),
        )
        self.all_judged = all(judged)
        # A request that is made to say something is so whether it is judged or not.
        decided = [r for r in requests if r.judged or r.action is not AbstainAction.END]
        self.constrained = any(r.constrained for r in decided)
        self.wants_logprobs = any(r.wants_logprobs for r in decided)
        self.max_slot = max(r.slot for r in requests)
        self.thresholds = self._thresholds.write([r.fires_below for r in requests])
        self.mask = self._mask.write(judged)
        self.stop_tokens = self._stop_tokens.write([max(r.stop_token, 0) for r in requests])
        self.slots = self._slots.write([r.slot for r in requests])
        heads = [r.head for r in requests]
        self.heads = Choice(self._heads.write(heads), tuple(sorted(set(heads))))
        self._placed = self._lengths.write([r.length for r in requests])
        self._begun = self._first.write([r.first_judged for r in requests])
