"""The device function that vLLM's samplers call, for the interpreter: Triton has none of its own.

Triton's ``libdevice`` is a list of names that a compiler binds to a device's library. Interpreted,
each gives ``None``. vLLM 0.24 to 0.30 draw with ``log1p``; the other releases need none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from types import ModuleType


def complete(module: ModuleType) -> None:
    """Give the list a ``log1p`` that computes."""
    module.log1p = _log1p  # type: ignore[attr-defined]


def _log1p(arg0: Any) -> Any:
    from triton.language import tensor
    from triton.runtime.interpreter import TensorHandle

    handle = arg0.handle
    return tensor(TensorHandle(numpy.log1p(handle.data), handle.dtype), arg0.type)
