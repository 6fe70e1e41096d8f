"""Completes modules when they are imported; Triton's back ends cannot import it themselves."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from . import interpreter, libdevice, philox, unpinned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_COMPLETIONS: dict[str, Callable[[ModuleType], None]] = {
    "triton.language.extra.libdevice": libdevice.complete,
    "triton.language.random": philox.complete,
    "triton.runtime.interpreter": interpreter.complete,
    "vllm.v1.worker.gpu.mm.encoder_runner": unpinned.complete,
}


def provide() -> None:
    """Complete each of the modules from now on."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _COMPLETIONS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Completing(spec.loader, _COMPLETIONS[fullname])
        return spec


class _Completing(Loader):
    def __init__(self, original: Loader, complete: Callable[[ModuleType], None]) -> None:
        self._original = original
        self._complete = complete

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._original.exec_module(module)
        self._complete(module)
