"""Which head a set of tensors is: names, shapes and numbers, checked before anything is built."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from value_steer.errors import CheckpointError
from value_steer.records.fields import shown
from value_steer.value_probe.head import Architecture
from value_steer.value_probe.limits import MAX_HIDDEN_SIZE
from value_steer.value_probe.pickle_text import Odd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

    from value_steer.value_probe.stored import Weights

WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that data parallelism and ``torch.compile`` give to the names of tensors."""


def unwrapped(weights: Mapping[str, Tensor | Odd]) -> Weights:
    """The same tensors without the prefixes of wrappers, where all of them have these."""
    names = {**weights}
    while names and (prefix := _shared(names)):
        names = {name.removeprefix(prefix): tensor for name, tensor in names.items()}
    return names


def _shared(names: Iterable[str]) -> str:
    return next((w for w in WRAPPERS if all(name.startswith(w) for name in names)), "")


def recognised(
    file: Path, weights: Mapping[str, Tensor | Odd]
) -> tuple[Architecture, int, dict[str, Tensor]]:
    """Architecture, hidden size and tensors of a complete, well-shaped, finite head.

    Args:
        file: Where they came from, for messages.
        weights: Under their names.

    Raises:
        CheckpointError: They are no value head; says which conversion would make one of them.
    """
    plain = plain_numbers(file, weights)
    architecture = min(Architecture, key=lambda a: len(a.shapes(1).keys() ^ weights.keys()))
    keys = architecture.shapes(1).keys()
    missing, unexpected = keys - weights.keys(), weights.keys() - keys
    if missing or unexpected:
        msg = (
            f"{file} is not a value head: missing keys {named(missing)}, unexpected keys "
            f"{named(unexpected)}; expected exactly {_KNOWN}. {_CONVERT.format(file)}"
        )
        raise CheckpointError(msg)
    size = max(1, plain["0.bias"].numel())
    if size > MAX_HIDDEN_SIZE:
        msg = f"{file} claims hidden size {size}; {MAX_HIDDEN_SIZE} is the largest that is read"
        raise CheckpointError(msg)
    for key, shape in architecture.shapes(size).items():
        found = tuple(plain[key].shape)
        if found != shape:
            msg = (
                f"{file}: {key} has shape {found}, expected {shape} for hidden size {size}. "
                f"{_CONVERT.format(file)}"
            )
            raise CheckpointError(msg)
        require_finite(file, key, plain[key])
    return architecture, size, plain


def plain_numbers(file: Path, weights: Mapping[str, Tensor | Odd]) -> dict[str, Tensor]:
    """The tensors, if all are arrays of numbers.

    Raises:
        CheckpointError: Names one that is sparse, nested or of a type without numbers.
    """
    odd = next((name for name, tensor in weights.items() if isinstance(tensor, Odd)), None)
    if odd is not None:
        raise CheckpointError(_not_numbers(file, odd))
    return {name: tensor for name, tensor in weights.items() if not isinstance(tensor, Odd)}


def require_finite(file: Path, name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is no dense array of finite floating-point numbers in fp32.

    Raises:
        CheckpointError: Names it.
    """
    is_dense = not tensor.is_nested and tensor.layout is torch.strided
    is_plain = is_dense and tensor.device.type == "cpu" and tensor.dtype in _PRECISIONS
    if not is_plain or not bool(tensor.float().isfinite().all()):
        raise CheckpointError(_not_numbers(file, name))


def named(keys: Iterable[object]) -> str:
    """Names for a message: the first of them in order."""
    names = sorted(map(str, keys))
    more = f", ... ({len(names)} in all)" if len(names) > _NAMED else ""
    return ", ".join(map(_shown, names[:_NAMED])) + more or "none"


def _not_numbers(file: Path, name: str) -> str:
    return f"{file}: {_shown(name)} is not made of finite fp32 numbers; train or export it again"


def _shown(name: str) -> str:
    """A name from a file for a message, quoted if there is more in it than names have."""
    return name[:_LONGEST] if _PLAIN.fullmatch(name[:_LONGEST]) else shown(name[:_LONGEST])


_PRECISIONS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_NAMED = 8
_LONGEST = 80
_PLAIN = re.compile(r"[\w.:/-]+")
_CONVERT = (
    "A linear probe, a TRL or OpenRLHF value head or narrower layers: value-steer convert {} "
    "--out vhead.safetensors --scores p_good (or p_undesirable)"
)
_KNOWN = " or ".join(named(architecture.shapes(1)) for architecture in Architecture)
