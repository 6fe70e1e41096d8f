"""The driver of the stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase as _Base

from . import completions

if TYPE_CHECKING:
    from collections.abc import Callable


class StandInDriver(_Base):
    """Says that the device is a CPU, and that it is never the one to compile for."""

    @staticmethod
    def is_active() -> bool:
        """Never: no device is driven."""
        return False

    def map_python_to_cpp_type(self, ty: str) -> str:
        """Types keep their names."""
        return ty

    def get_current_target(self) -> GPUTarget:
        """A CPU."""
        return GPUTarget("cpu", 0, 0)

    def get_active_torch_device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def get_benchmarker(self) -> Callable[..., object]:
        """Triton's own."""
        from triton.testing import do_bench

        return do_bench


completions.provide()
