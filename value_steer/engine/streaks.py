"""How long requests have been below their thresholds, by the position that was judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from value_steer.policy import extend_streaks

if TYPE_CHECKING:
    from torch import Tensor

_SPAN = 1 << 24
"""Tells a position from a count in one number; no sequence is as long."""


class Streaks:
    """Consecutive response tokens below the threshold, on the device.

    A count is kept for each of the last positions, because a request may take some of them again
    after a preemption, with another token there if what was in flight was dropped.

    Args:
        patience: Consecutive tokens below the threshold before a row ends.
        positions: Positions that a request may have to take again, and one before them.
        device: Where the values are.
    """

    def __init__(self, patience: int, positions: int, device: torch.device) -> None:
        self._patience = patience
        self._kept = torch.zeros((0, positions), dtype=torch.int64, device=device)

    @property
    def counts(self) -> bool:
        """Whether one token below the threshold is not enough."""
        return self._patience > 1

    def extend(
        self, below: Tensor, judged: Tensor, slots: Tensor, positions: Tensor, later: Tensor
    ) -> Tensor:
        """Take in one position of each row; which rows have been below for long enough.

        Args:
            below: Judged rows below their threshold, ``[rows]`` bool.
            judged: Rows that are judged, ``[rows]`` bool.
            slots: Where each row's request is kept, ``[rows]`` int64, below what was reserved.
            positions: Tokens of the sequence that was judged, ``[rows]`` int64.
            later: Whether a token of the request may have been judged before, ``[rows]`` bool;
                what a slot holds is another request's else.
        """
        depth = self._kept.shape[1]
        last = self._kept[slots, (positions - 1) % depth]
        follows = later & (last // _SPAN == positions - 1)
        now = extend_streaks(torch.where(follows, last % _SPAN, 0), below)
        place = positions % depth
        kept = self._kept[slots, place]
        self._kept[slots, place] = torch.where(judged, positions * _SPAN + now, kept)
        return below & (now >= self._patience)

    def reserve(self, slots: int) -> None:
        """Have room for that many requests."""
        missing = slots - len(self._kept)
        if missing > 0:
            more = self._kept.new_zeros((missing + slots, self._kept.shape[1]))
            self._kept = torch.cat([self._kept, more])
