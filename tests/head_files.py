"""Files that hold value heads, whole and otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from value_steer.value_probe import ValueHead

HIDDEN = 4
SUFFIXES = (".safetensors", ".pt", ".bin")

Weights = dict[str, Any]


class Intruder:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, ("raise SystemExit('code of a checkpoint was executed')",)


def write(path: Path, weights: Weights) -> Path:
    """Weights as a file that carries no card."""
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


def weights_of(head: ValueHead) -> Weights:
    """A state dict that may be changed."""
    return {key: tensor.clone() for key, tensor in head.state_dict().items()}
