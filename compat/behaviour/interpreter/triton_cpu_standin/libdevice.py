"""The device function that vLLM's samplers call, for the interpreter: Triton has none of its own.

Triton's ``libdevice`` is a list of names that a compiler binds to a device's library. Interpreted,
each gives ``None``. vLLM 0.24 to 0.30 draw with ``log1p``; the other releases need none.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_NAME = "triton.language.extra.libdevice"


def provide() -> None:
    """Complete the module when it is imported; Triton cannot be imported from its back ends."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _NAME:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Completing(spec.loader)
        return spec


class _Completing(Loader):
    def __init__(self, original: Loader) -> None:
        self._original = original

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._original.exec_module(module)
        module.log1p = _log1p  # type: ignore[attr-defined]


def _log1p(arg0: Any) -> Any:
    from triton.language import tensor
    from triton.runtime.interpreter import TensorHandle

    handle = arg0.handle
    return tensor(TensorHandle(numpy.log1p(handle.data), handle.dtype), arg0.type)
