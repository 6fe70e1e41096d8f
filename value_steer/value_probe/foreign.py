"""The layers in other packages' files of heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.errors import CheckpointError
from value_steer.value_probe.chain import HEADS, chain, refuse_neighbours
from value_steer.value_probe.layout import named
from value_steer.value_probe.limits import MAX_HIDDEN_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from value_steer.value_probe.chain import Layer


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
        CheckpointError: They are no chain of linear layers whose order is certain, or some that
            look like layers of it lie beside it; says what they are.
    """
    if not tensors:
        msg = f"{file} holds no tensors; save the layers' weights under their names"
        raise CheckpointError(msg)
    names = {name.removesuffix("_"): name for name in tensors}
    if "coef" in names:
        if len(names) < len(tensors):
            twice = tensors.keys() - set(names.values())
            msg = f"{file} has {named(twice)} and the same with _ at the end; keep the right one"
            raise CheckpointError(msg)
        return _regression(file, {name: tensors[own] for name, own in names.items()})
    chosen = {name: t for name, t in tensors.items() if not HEADS.isdisjoint(name.split("."))}
    chosen = chosen or {**tensors}
    layers = _one_logit(file, chain(file, chosen))
    refuse_neighbours(file, tensors, chosen.keys(), layers[0][0].shape[1])
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
    return Layers(tuple(_one_logit(file, [(coef, bias)])), "a logistic regression")


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
