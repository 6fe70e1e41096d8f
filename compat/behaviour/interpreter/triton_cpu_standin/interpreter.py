"""Three things that Triton's interpreter does over and over, half of a step between them.

Before a kernel and before each function that it calls, the interpreter looks through all members
of ``triton.language`` to replace the builtins. What such a function has replaced stays for the rest
of the kernel, so that once per kernel is enough. And it checks each integer operation for overflow
by a second one of 64 bits, which compiled kernels do under a debugger's flag only. And it writes
down which NumPy type stands for which of Triton's whenever it looks one up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def complete(module: ModuleType) -> None:
    """Spare ``triton.runtime.interpreter`` all three."""
    builder = module.interpreter_builder
    builder.options = replace(builder.options, sanitize_overflow=False)
    patches = _Patches(module)
    module._patch_lang = patches.of_function  # type: ignore[attr-defined]  # noqa: SLF001
    module._get_np_dtype = _remembered(module._get_np_dtype)  # type: ignore[attr-defined]  # noqa: SLF001
    kernel = module.GridExecutor.__call__

    def call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        patches.begin_kernel()
        return kernel(executor, *args, **kwargs)

    module.GridExecutor.__call__ = call


def _remembered(look_up: Callable[[Any], Any]) -> Callable[[Any], Any]:
    known: dict[str, Any] = {}  # by name, because some of Triton's types have no hash

    def numpy_type(of: Any) -> Any:
        if of.name not in known:
            known[of.name] = look_up(of)
        return known[of.name]

    return numpy_type


class _Patches:
    def __init__(self, module: ModuleType) -> None:
        self._languages = (module.tl, module.tl.core)
        self._patch: Callable[[Any], Any] = module._patch_lang  # noqa: SLF001
        self._patched: set[int] = set()

    def begin_kernel(self) -> None:
        """Forget: the last kernel has put back what it had replaced."""
        self._patched.clear()

    def of_function(self, function: Any) -> Any:
        """The scope to restore, which the interpreter asks of a kernel only."""
        seen = {
            id(value)
            for value in function.__globals__.values()
            if any(value is language for language in self._languages)
        }
        if seen and seen <= self._patched:
            return None
        self._patched |= seen
        return self._patch(function)
