"""What running ahead hands around does not change under those who hold it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from value_steer.engine.looks import Ends, Look


def test_ends_lose_a_request_in_place() -> None:
    """The record is frozen; the requests in it go one by one."""
    ends = Ends({"a": 4, "b": 5}, [2, 3])
    del ends.positions["a"]
    del ends.outputs[0]

    assert ends == Ends({"b": 5}, [3])
    with pytest.raises(FrozenInstanceError):
        ends.outputs = []  # type: ignore[misc]


def test_a_look_may_take_the_feature_of_another_token() -> None:
    """Its rows are written to when a candidate that ran elsewhere is kept."""
    look = Look(["a", "b"], torch.zeros(2, 3), state=None)
    look.feature[look.ids.index("b")] = torch.ones(3)

    assert look.feature.sum(dim=1).tolist() == [0.0, 3.0]
