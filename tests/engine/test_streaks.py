"""A request fires once it has been below its threshold at enough positions in a row."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from value_steer.engine.streaks import Streaks


class Slot:
    """One request in a slot of its own, whose positions are judged one after the other."""

    def __init__(self, patience: int, depth: int = 4) -> None:
        self._streaks = Streaks(patience, depth, torch.device("cpu"))
        self._streaks.reserve(1)

    def fires(
        self, position: int, *, below: bool = True, judged: bool = True, later: bool = True
    ) -> Any:
        """Take in a position."""
        mask = torch.tensor([judged])
        fired = self._streaks.extend(
            torch.tensor([below]) & mask,
            mask,
            torch.tensor([0]),
            torch.tensor([position]),
            torch.tensor([later]),
        )
        return fired.item()


@pytest.mark.parametrize("prompt", [1, 3, 500])
@pytest.mark.parametrize("patience", [1, 2, 40])
def test_a_run_of_any_length_is_counted(patience: int, prompt: int) -> None:
    """From the first position of the response on, wherever that is."""
    slot = Slot(patience)

    fired = [slot.fires(prompt + step, later=step > 0) for step in range(patience + 2)]

    assert fired == [False] * (patience - 1) + [True] * 3


def test_a_position_that_was_not_judged_ends_a_run() -> None:
    """What the head would have said there is not known."""
    slot = Slot(patience=2)

    assert not slot.fires(4)
    assert not slot.fires(5, judged=False)
    assert [slot.fires(6), slot.fires(7)] == [False, True]


def test_a_position_that_is_taken_again_counts_once() -> None:
    """With another token there, to which the head may not object."""
    slot = Slot(patience=3)
    assert [slot.fires(position) for position in (4, 5, 5, 5)] == [False] * 4

    assert not slot.fires(5, below=False)
    assert [slot.fires(position) for position in (6, 7, 8)] == [False, False, True]


def test_another_request_in_the_slot_begins_anew() -> None:
    """Even where it begins at the position behind its predecessor's last."""
    slot = Slot(patience=2)
    assert not slot.fires(4)

    assert [slot.fires(5, later=False), slot.fires(6)] == [False, True]


def test_room_for_more_requests_keeps_what_was_counted() -> None:
    """Whoever joins."""
    slot = Slot(patience=2)
    assert not slot.fires(4)
    slot._streaks.reserve(9)

    assert slot.fires(5)
