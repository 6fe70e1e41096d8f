"""Small tensors on their way between the device and the host, without stalling the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def on_accelerator(tensor: Tensor) -> bool:
    """Whether reading a tensor on the host would stall a device."""
    return tensor.device.type != "cpu"


class HostCopies:
    """Copies of tensors in host memory that may still be on their way.

    Args:
        tensors: All on one device; ``None`` stays ``None``.
    """

    def __init__(self, *tensors: Tensor | None) -> None:
        sources = [tensor for tensor in tensors if tensor is not None]
        self._ready: torch.Event | None = None
        if sources and on_accelerator(sources[0]):
            self._copies = [None if one is None else _copied(one) for one in tensors]
            self._ready = torch.Event(sources[0].device)
            self._ready.record()
        else:
            self._copies = list(tensors)

    def arrived(self) -> list[Tensor | None]:
        """The copies, after a wait for them."""
        if self._ready is not None:
            self._ready.synchronize()
        return self._copies


def upload(values: Sequence[float], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Values as a tensor on the device of ``like``, of its type unless one is given."""
    pinned = on_accelerator(like)
    staged = torch.tensor(values, dtype=dtype or like.dtype, pin_memory=pinned)
    return staged.to(like.device, non_blocking=pinned)


def _copied(tensor: Tensor) -> Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
