"""Tensors go to the host and come from it without a stall, and are read once they are there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from value_steer.engine import host_copy
from value_steer.engine.host_copy import HostCopies, upload

PLACE = torch.device("cpu")
"""Where the accelerator that is played here has its tensors."""


class Accelerator:
    """A device whose copies arrive when an event behind them is waited for.

    Attributes:
        stalls: Transfers that the host had to wait for.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stalls = 0
        self._under_way: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._empty, self._tensor = torch.empty, torch.tensor
        monkeypatch.setattr(host_copy, "on_accelerator", lambda _: True)
        monkeypatch.setattr(torch, "empty", self.empty)
        monkeypatch.setattr(torch, "tensor", self.tensor)
        monkeypatch.setattr(torch, "Event", lambda device: _Event(device, self._under_way))

    def empty(self, shape: torch.Size, *, dtype: Any = None, pin_memory: Any = False) -> Any:
        """Memory of the host."""
        host: Any = self._empty(shape, dtype=dtype).zero_()

        def copy(source: torch.Tensor, *, non_blocking: Any = False) -> torch.Tensor:
            self.stalls += not (pin_memory and non_blocking)
            self._under_way.append((host, source))
            return host  # type: ignore[no-any-return]

        host.copy_ = copy
        return host

    def tensor(self, values: Any, *, dtype: Any = None, pin_memory: Any = False) -> Any:
        """Values in memory of the host."""
        host: Any = self._tensor(values, dtype=dtype)

        def to(device: torch.device, *, non_blocking: Any = False) -> torch.Tensor:
            assert device == PLACE, "it goes nowhere else"
            self.stalls += not (pin_memory and non_blocking)
            return host  # type: ignore[no-any-return]

        host.to = to
        return host


class _Event:
    def __init__(self, device: torch.device, under_way: list[Any]) -> None:
        assert device == PLACE, "an event belongs to a device"
        self._under_way, self._behind = under_way, list[Any]()

    def record(self) -> None:
        """Come behind what is under way."""
        self._behind = list(self._under_way)

    def synchronize(self) -> None:
        """Wait for that."""
        for host, source in self._behind:
            torch.Tensor.copy_(host, source)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    """The device that tensors are on."""
    return Accelerator(monkeypatch)


def _tensors() -> list[torch.Tensor]:
    values = torch.linspace(0.0, 1.0, 3, dtype=torch.float64)
    return [values, torch.arange(3) > 1, torch.arange(3) + 2**40]


@pytest.mark.parametrize("count", [1, 3])
def test_copies_are_read_once_they_are_there(accelerator: Accelerator, count: int) -> None:
    """Whichever types they have; who asks twice gets the same again."""
    tensors = _tensors()[:count]
    copies = HostCopies(*tensors)

    for _ in range(2):
        arrived = copies.arrived()
        assert [one.tolist() for one in arrived] == [one.tolist() for one in tensors]
    assert accelerator.stalls == 0


def test_on_the_host_nothing_is_copied() -> None:
    """It is there already."""
    tensors = _tensors()

    arrived = HostCopies(*tensors).arrived()

    assert [one.tolist() for one in arrived] == [one.tolist() for one in tensors]
    assert all(one.ctypes.data == t.data_ptr() for one, t in zip(arrived, tensors, strict=True))


def test_an_upload_does_not_stall(accelerator: Accelerator) -> None:
    """It is used behind that on the device itself."""
    sent = upload([1, 0, 1], torch.ones(1), torch.bool)

    assert sent.tolist() == [True, False, True]
    assert accelerator.stalls == 0


@pytest.mark.parametrize(
    ("values", "like", "dtype", "expected"),
    [
        ([1, 0], torch.float32, None, torch.float32),
        ([1, 0], torch.int64, None, torch.int64),
        ([1, 0], torch.float32, torch.bool, torch.bool),
        ([0.5, 1.0], torch.int64, torch.float32, torch.float32),
    ],
)
def test_an_upload_has_the_type_of_what_it_joins(
    values: list[float], like: torch.dtype, dtype: torch.dtype | None, expected: torch.dtype
) -> None:
    """Unless another one is asked for."""
    sent = upload(values, torch.zeros(1, dtype=like), dtype)

    assert sent.dtype is expected
    assert sent.tolist() == values
