"""What is laid out of a batch: on the device, as exact as it is, without a stall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tests.engine.live import live
from value_steer.engine.delivery.report import Ending
from value_steer.engine.rows import Rows

if TYPE_CHECKING:
    import pytest


def _table() -> Any:
    """Two requests, one of which is judged."""
    return {
        "a": live(threshold=0.25, slot=3, head=1, stop_token=7),
        "b": live(slot=1, refusal="bad", stop_token=-1),
    }


def test_a_batch_is_laid_out_as_its_requests_are() -> None:
    """In its order; positions grow with it."""
    rows = Rows(4, torch.device("cpu"))
    rows.plan(["a", "b"], _table())
    assert rows.positions.tolist() == [5, 5]
    rows.age = 2

    assert rows.mask.tolist() == [True, False]
    assert rows.thresholds.tolist() == [0.25, 0.0]
    assert rows.stop_tokens.tolist() == [7, 0]
    assert (rows.slots.tolist(), rows.max_slot) == ([3, 1], 3)
    assert (rows.heads.index.tolist(), rows.heads.used) == ([1, 0], (0, 1))
    assert rows.heads.index.dtype is torch.int64
    assert rows.positions.tolist() == [7, 7]
    assert rows.layout.endings == (Ending.ABSTAINED, Ending.REFUSED)
    assert (rows.layout.judged_rows, rows.layout.lengths.tolist()) == (1, [5, 5])


def test_on_an_accelerator_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host lays out is in memory that the device can read by itself."""
    pinned, stalls, tensor, copy = [], [], torch.tensor, torch.Tensor.copy_

    def staged(values: Any, *, dtype: torch.dtype, pin_memory: bool = False) -> torch.Tensor:
        pinned.append(pin_memory)
        return tensor(values, dtype=dtype)

    def copied(self: Any, source: torch.Tensor, non_blocking: Any = False) -> Any:  # noqa: FBT002
        stalls.append(not non_blocking)
        return copy(self, source)

    monkeypatch.setattr(torch, "tensor", staged)
    monkeypatch.setattr(torch.Tensor, "copy_", copied)
    rows = Rows(4, torch.device("meta"))
    rows.plan(["a", "b"], _table())

    placed = (rows.mask, rows.thresholds, rows.stop_tokens, rows.slots, rows.positions, rows.later)
    assert {one.device.type for one in (*placed, rows.heads.index)} == {"meta"}
    assert pinned
    assert all(pinned)
    assert len(stalls) == len(pinned)
    assert not any(stalls)
