"""The layers in other packages' files of heads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from value_steer.errors import CheckpointError
from value_steer.value_probe.layout import named
from value_steer.value_probe.limits import MAX_HIDDEN_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    Layer: TypeAlias = tuple[Tensor, Tensor]
    """Weight ``[out, in]`` and bias ``[out]`` in double precision."""


@dataclass(frozen=True, slots=True)
class Layers:
    """A chain of linear layers from a hidden state to one logit.

    Attributes:
        layers: In the order in which they are applied.
        kind: What they are, in words.
        left_out: Names of the file's other tensors, which belong to no head.
    """

    layers: tuple[Layer, ...]
    kind: str
    left_out: tuple[str, ...] = ()


def layers_of(file: Path, tensors: Mapping[str, Tensor]) -> Layers:
    """Recognise a head.

    Args:
        file: For messages.
        tensors: Arrays of numbers under their names, without the prefixes of wrappers.

    Raises:
        CheckpointError: They are no chain of linear layers; says what they are.
    """
    names = {name.removesuffix("_"): name for name in tensors}
    if "coef" in names:
        return _regression(file, {name: tensors[own] for name, own in names.items()})
    chosen = {name: t for name, t in tensors.items() if not _HEADS.isdisjoint(name.split("."))}
    chosen = chosen or {**tensors}
    layers = _one_logit(file, _chain(file, chosen))
    left_out = tuple(name for name in tensors if name not in chosen)
    sizes = " to ".join(str(w.shape[1]) for w, _ in layers)
    return Layers(tuple(layers), f"{len(layers)} linear layers of {sizes} to 1", left_out)


def _regression(file: Path, arrays: Mapping[str, Tensor]) -> Layers:
    """scikit-learn's logistic regression; a ``StandardScaler`` before it is folded in."""
    coef = arrays["coef"]
    coef = coef.unsqueeze(0) if coef.ndim == 1 else coef
    if coef.ndim != 2 or coef.shape[0] != 1:
        msg = f"{file}: coef_ has shape {tuple(coef.shape)}; convert a model of two classes"
        raise CheckpointError(msg)
    bias = arrays["intercept"].reshape(-1) if "intercept" in arrays else coef.new_zeros(1)
    unknown = arrays.keys() - {"coef", "intercept", "mean", "scale", "classes"}
    if unknown or bias.numel() != 1:
        msg = (
            f"{file}: intercept_ has {bias.numel()} numbers, unknown arrays {named(unknown)}; "
            "expected coef_ and intercept_, and mean_ and scale_ of a StandardScaler"
        )
        raise CheckpointError(msg)
    for name in ("scale", "mean"):
        if name in arrays and arrays[name].shape != coef.shape[1:]:
            msg = f"{file}: {name}_ must have the {coef.shape[1]} numbers that coef_ has"
            raise CheckpointError(msg)
    if "scale" in arrays:
        coef = coef / arrays["scale"]
    if "mean" in arrays:
        bias = bias - coef @ arrays["mean"]
    return Layers(((coef, bias),), "a logistic regression")


def _chain(file: Path, tensors: Mapping[str, Tensor]) -> list[Layer]:
    bases = {name.rpartition(".")[0] for name in tensors}
    expected = {_joined(base, part) for base in bases for part in ("weight", "bias")}
    weights = [_joined(base, "weight") for base in sorted(bases, key=_natural)]
    flat = [name for name in weights if name not in tensors or tensors[name].ndim != 2]
    if flat or not tensors.keys() <= expected:
        msg = (
            f"{file} is no chain of linear layers: {named(flat or tensors.keys() - expected)}. A "
            "norm, an attention or a convolution has no counterpart; train a value head instead"
        )
        raise CheckpointError(msg)
    layers: list[Layer] = []
    for name in weights:
        weight = tensors[name]
        bias = tensors.get(name.removesuffix("weight") + "bias", weight.new_zeros(len(weight)))
        fits = not layers or layers[-1][0].shape[0] == weight.shape[1]
        if bias.shape != weight.shape[:1] or not fits:
            msg = f"{file}: {name} has shape {tuple(weight.shape)}, which fits no chain of layers"
            raise CheckpointError(msg)
        layers.append((weight, bias))
    return layers


def _one_logit(file: Path, layers: list[Layer]) -> list[Layer]:
    *inner, (weight, bias) = layers
    hidden, outputs = layers[0][0].shape[1], weight.shape[0]
    if not 1 <= hidden <= MAX_HIDDEN_SIZE or any(len(w) > hidden for w, _ in inner):
        msg = f"{file}: a layer is wider than the hidden size {hidden}; train a narrower head"
        raise CheckpointError(msg)
    if outputs not in (1, 2):
        msg = f"{file}: it has {outputs} outputs; a value head has one, or two classes"
        raise CheckpointError(msg)
    if outputs == 2:
        # The softmax of two classes gives the second one sigmoid(z1 - z0).
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    return [*inner, (weight, bias)]


def _joined(base: str, part: str) -> str:
    return f"{base}.{part}" if base else part


def _natural(name: str) -> list[tuple[int, str]]:
    """In the order in which people count: ``fc2`` before ``fc10``."""
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d{1,9})", name)]


_HEADS = {"v_head", "value_head", "score", "reward_head", "regression_head", "classifier"}
"""Modules of TRL, OpenRLHF and transformers that hold the head of a whole model."""
