"""The order of a head's layers, and what lies beside them in a file."""

from __future__ import annotations

import re
from itertools import pairwise, permutations
from typing import TYPE_CHECKING, TypeAlias

from value_steer.errors import CheckpointError
from value_steer.value_probe.layout import named

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    Layer: TypeAlias = tuple[Tensor, Tensor]
    """Weight ``[out, in]`` and bias ``[out]`` in double precision."""


def chain(file: Path, tensors: Mapping[str, Tensor]) -> list[Layer]:
    """Linear layers in the order in which they are applied.

    Args:
        file: For messages.
        tensors: Nothing but weights ``[out, in]`` and biases ``[out]``.

    Raises:
        CheckpointError: They are something else, fit no chain, or neither numbers in their names
            nor their shapes say which comes first.
    """
    bases = {name.rpartition(".")[0] for name in tensors}
    expected = {_joined(base, part) for base in bases for part in ("weight", "bias")}
    weights = sorted(_joined(base, "weight") for base in bases)
    flat = [name for name in weights if name not in tensors or tensors[name].ndim != 2]
    if flat or not tensors.keys() <= expected:
        msg = (
            f"{file} is no chain of linear layers: {named(flat or tensors.keys() - expected)}. A "
            "norm, an attention or a convolution has no counterpart; train a value head instead"
        )
        raise CheckpointError(msg)
    layers: list[Layer] = []
    for name in _ordered(file, {name: tensors[name] for name in weights}):
        weight = tensors[name]
        bias = tensors.get(name.removesuffix("weight") + "bias", weight.new_zeros(len(weight)))
        if bias.shape != weight.shape[:1]:
            msg = f"{file}: the bias of {named([name])} has shape {tuple(bias.shape)}"
            raise CheckpointError(msg)
        layers.append((weight, bias))
    return layers


def refuse_neighbours(
    file: Path, tensors: Mapping[str, Tensor], head: Collection[str], width: int
) -> None:
    """Refuse to leave out what may be part of the head: a layer, a norm or a scale beside it.

    Args:
        file: For messages.
        tensors: All that the file has.
        head: Names of those that are taken.
        width: Of the states that the first of these reads.

    Raises:
        CheckpointError: Names what would have been left out, or the heads if there are several.
    """
    places = {_place(name) for name in head}
    if len(places) > 1:
        found = named(f"{parent}{own}" for parent, own in places)
        msg = f"{file} holds several heads ({found}); save the right one alone"
        raise CheckpointError(msg)
    # The head's own parent says nothing: model.dense and model.score are neighbours.
    parent = next(iter(places))[0]
    others = {n.removeprefix(parent): t for n, t in tensors.items() if n not in head}
    backbone = {n.partition(".")[0] for n in others if _BACKBONE.match(n)}
    odd = [n for n, t in others.items() if _touches(t.shape, width) and not _is_of(backbone, n)]
    if odd:
        msg = (
            f"{file}: {named(odd)} would be left out, and may be part of the head; save the head's "
            "layers alone, under numbers that give their order"
        )
        raise CheckpointError(msg)


def _place(name: str) -> tuple[str, str]:
    """The prefix of the name of a head's module, and that name; both empty without one."""
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if part in HEADS), None)
    return ("", "") if at is None else ("".join(f"{part}." for part in parts[:at]), parts[at])


def _touches(shape: Sequence[int], width: int) -> bool:
    """Whether a layer gives what the head reads, or reads or scales its one or two outputs."""
    return not shape or shape[0] in (1, 2, width) or shape[-1] in (1, 2)


def _is_of(backbone: Collection[str], name: str) -> bool:
    """Whether a tensor belongs to the model that the head reads."""
    parts = name.split(".")
    # A pooler stands between a classifier and the states, wherever it is kept.
    is_final_norm = bool(backbone) and parts[0] in _FINAL_NORMS
    return (parts[0] in backbone or is_final_norm) and "pooler" not in parts


def _ordered(file: Path, weights: Mapping[str, Tensor]) -> Sequence[str]:
    if len(weights) > _MOST:
        msg = f"{file} has {len(weights)} layers, too many: a value head has three at most"
        raise CheckpointError(msg)
    orders = [
        order
        for order in permutations(weights)
        if all(weights[a].shape[0] == weights[b].shape[1] for a, b in pairwise(order))
        and not any(_precedes(b, a) for i, a in enumerate(order) for b in order[i + 1 :])
    ]
    # Of several layers the last one has the outputs of a head.
    orders = [order for order in orders if weights[order[-1]].shape[0] in (1, 2)] or orders
    if not orders:
        shapes = ", ".join(f"{named([n])} {tuple(t.shape)}" for n, t in weights.items())
        msg = f"{file}: a weight among {shapes} fits no chain of layers"
        raise CheckpointError(msg)
    if len(orders) > 1:
        msg = (
            f"{file}: which of {named(weights)} comes first is not certain; save them under "
            "numbers in the order in which they are applied, as nn.Sequential does"
        )
        raise CheckpointError(msg)
    return orders[0]


def _precedes(one: str, other: str) -> bool:
    """Whether the first difference of two names is a number, and smaller in this one."""
    pairs = zip(_NUMBER.split(one), _NUMBER.split(other), strict=False)
    a, b = next(((a, b) for a, b in pairs if a != b), ("", ""))
    return a.isdecimal() and b.isdecimal() and int(a) < int(b)


def _joined(base: str, part: str) -> str:
    return f"{base}.{part}" if base else part


_MOST = 6
"""So many are looked at in every order; more than three are refused anyway."""
_NUMBER = re.compile(r"(\d{1,9})")
HEADS = frozenset({"v_head", "value_head", "score", "reward_head", "regression_head", "classifier"})
"""Modules of TRL, OpenRLHF and transformers that hold the head of a whole model."""
_BACKBONE = re.compile(
    r"(?:\w+\.)*?(?:(?:layers?|h|blocks?)\.\d+\.\w+\.\w+\.|(?:wte|wpe|embed_tokens|embed_in|"
    r"word_embeddings|tok_embeddings|lm_head|embed_out)\.)"
)
"""A list of blocks that have parts of parts, or an embedding: no head has these."""
_FINAL_NORMS = frozenset({"norm", "ln_f", "final_layernorm", "final_layer_norm", "final_norm"})
