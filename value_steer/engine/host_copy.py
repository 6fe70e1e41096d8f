"""Small tensors on their way between the device and the host, without stalling the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor


def on_accelerator(tensor: Tensor) -> bool:
    """Whether reading a tensor on the host would stall a device."""
    return not tensor.is_cpu


class HostCopies:
    """Copies of tensors in host memory that may still be on their way.

    Args:
        tensors: One at least, all on one device.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._copies: Sequence[Tensor] = tensors
        self._ready: torch.Event | None = None
        if on_accelerator(tensors[0]):
            self._copies = [_copied(one) for one in tensors]
            self._ready = torch.Event(tensors[0].device)
            self._ready.record()

    def arrived(self) -> list[np.ndarray]:
        """The copies, after a wait for them."""
        if self._ready is not None:
            self._ready.synchronize()
        return [copy.numpy() for copy in self._copies]


def upload(values: Sequence[float], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Values as a tensor on the device of ``like``, of its type unless one is given."""
    pinned = on_accelerator(like)
    staged = torch.tensor(values, dtype=dtype or like.dtype, pin_memory=pinned)
    return staged.to(like.device, non_blocking=pinned)


def _copied(tensor: Tensor) -> Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
