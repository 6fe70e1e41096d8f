"""Philox in one pass of NumPy: the same numbers as Triton's own, which takes half of a step.

Interpreted, each of the hundred operations of ten rounds is a call through Triton's type rules.
Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), Philox-4x32/4x64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_Words = Any
"""An array of unsigned words of one width."""


class _Constants(NamedTuple):
    key_a: int
    key_b: int
    round_a: int
    round_b: int


_CONSTANTS = {
    32: _Constants(0x9E3779B9, 0xBB67AE85, 0xD2511F53, 0xCD9E8D57),
    64: _Constants(0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B, 0xD2E7470EE14C6C93, 0xCA5A826395121157),
}


def complete(module: ModuleType) -> None:
    """Replace ``philox_impl`` of ``triton.language.random``."""
    module.philox_impl = _of_tensors(module.philox_impl)  # type: ignore[attr-defined]


def _of_tensors(original: Callable[..., Any]) -> Callable[..., Any]:
    def philox_impl(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any, n_rounds: Any) -> Any:
        from triton.language import tensor
        from triton.runtime.interpreter import TensorHandle

        counters, keys = (c0, c1, c2, c3), (k0, k1)
        scalar_keys = all(k.handle.data.size == 1 and not k.type.is_block() for k in keys)
        if not scalar_keys or any(c.type != c0.type for c in counters):
            return original(*counters, *keys, n_rounds)
        words = rounds(
            [c.handle.data for c in counters],
            [int(k.handle.data.item()) for k in keys],
            int(getattr(n_rounds, "value", n_rounds)),
        )
        return tuple(tensor(TensorHandle(w, c0.type.scalar), c0.type) for w in words)

    return philox_impl


def rounds(counters: list[_Words], keys: list[int], n_rounds: int) -> tuple[_Words, ...]:
    """The four counters after as many rounds; arrays of uint32 or uint64, of one shape."""
    dtype = counters[0].dtype
    bits = dtype.itemsize * 8
    constants, mask = _CONSTANTS[bits], (1 << bits) - 1
    # The product of two words needs twice the width: past 64 bits Python's own integers have it.
    wide = numpy.uint64 if bits == 32 else object
    c0, c1, c2, c3 = (c.astype(wide) for c in counters)
    k0, k1 = keys
    for _ in range(n_rounds):
        a, b = c0 * constants.round_a, c2 * constants.round_b
        c0, c1 = (b >> bits) ^ c1 ^ k0, b & mask
        c2, c3 = (a >> bits) ^ c3 ^ k1, a & mask
        k0, k1 = (k0 + constants.key_a) & mask, (k1 + constants.key_b) & mask
    return tuple(c.astype(dtype) for c in (c0, c1, c2, c3))
