"""Heads as other packages keep them, made into one of ours that gives the same probabilities.

A head of ours has square layers, ``tanh`` after the first and ``relu`` after the second of three.
A narrower layer is filled up with zeros. A layer that is missing is ``STEP`` times the identity: in
fp32 ``tanh(STEP * h)`` is ``STEP * h`` itself, and the next layer divides by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from value_steer.calibration.prompts import training_prompts_file
from value_steer.errors import CheckpointError
from value_steer.value_probe.arrays import read_npz
from value_steer.value_probe.card import HeadCard, Polarity
from value_steer.value_probe.checkpoint import built, card_of, save_value_head
from value_steer.value_probe.foreign import Layers, layers_of
from value_steer.value_probe.head import Architecture
from value_steer.value_probe.layout import named, plain_numbers, require_finite, unwrapped
from value_steer.value_probe.spellings import ACTIVATION_KEYS, OUTPUT_KEYS
from value_steer.value_probe.statements import plain_key, polarity_of, statements
from value_steer.value_probe.stored import SAFETENSORS, Stored, parse, parse_pickled
from value_steer.value_probe.tie import read_tied
from value_steer.value_probe.training_file import split

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from value_steer.value_probe.chain import Layer
    from value_steer.value_probe.head import ValueHead

Activation: TypeAlias = Literal["tanh", "relu", "tanh-relu"]
"""Activations of the inner layers: of two, of two, of three."""

STEP = 2.0**-24
"""Up to a hidden state of 4,096, the cubic term of ``tanh(STEP * h)`` is below fp32's precision."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        head: As it was saved, with its card.
        kind: What the file held, in words.
        left_out: Names of its tensors that belong to no head.
    """

    head: ValueHead
    kind: str
    left_out: tuple[str, ...]


def convert_head(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    scores: Polarity | None = None,
    activation: Activation | None = None,
    backbone: str | None = None,
) -> Conversion:
    """Make another package's head one of ours and save it.

    Args:
        source: ``.npz`` with ``coef_`` and ``intercept_``, or a ``.safetensors``, ``.pt``, ``.pth``
            or ``.bin`` file with up to three linear layers. Its sidecar is read if it has one.
        out: The head's file.
        scores: What a high score means, unless the sidecar says so.
        activation: What follows the inner layers, which such a file does not say.
        backbone: The model, unless the sidecar says so.

    Raises:
        CheckpointError: It is no head that ours can stand for, what it scores is not known, or the
            files cannot be read or written.
    """
    file = Path(source)
    _require_suffix(file)
    _require_untrained(file, Path(out))
    body, beside = read_tied(file)
    stored, classes = _stored(file, body)
    tensors = plain_numbers(file, unwrapped(stored.weights))
    for name, tensor in tensors.items():
        require_finite(file, name, tensor)
    found = layers_of(file, {name: tensor.double() for name, tensor in tensors.items()})
    size = found.layers[0][0].shape[1]
    card = card_of(file, stored, beside, None, size) or HeadCard(size)
    if card.hidden_size != size:
        msg = f"{file} reads hidden states of {size}, its sidecar says {card.hidden_size}"
        raise CheckpointError(msg)
    stated = {p for p in (scores, card.scores) if p is not None} | _of_classes(classes)
    _require_activation(file, card, found, activation)
    card = replace(
        card,
        scores=_only(file, stated),
        backbone=card.backbone if backbone is None else backbone,
        meta={**_without_activations(card), "converted_from": found.kind},
    )
    head = _ours(file, found, size, activation)
    save_value_head(out, head, card)
    head.card = card
    return Conversion(head, found.kind, found.left_out)


def _require_suffix(file: Path) -> None:
    if file.suffix in _OBJECTS:
        msg = (
            f"{file} is a pickle of objects, which is not executed. Where it was made, export the "
            "numbers: numpy.savez('probe.npz', coef_=model.coef_, intercept_=model.intercept_), "
            "with mean_=scaler.mean_, scale_=scaler.scale_ of a StandardScaler before it"
        )
        raise CheckpointError(msg)
    if file.suffix not in _SUFFIXES:
        msg = f"{file}: unknown suffix {file.suffix!r}; give one of {', '.join(_SUFFIXES)}"
        raise CheckpointError(msg)


def _require_untrained(file: Path, out: Path) -> None:
    """The list of training prompts there is of another head; calibration would believe it."""
    listed = training_prompts_file(out)
    if listed.exists() and file.resolve() != out.resolve():
        msg = (
            f"{listed} lists the prompts that the head {out} was trained on, and the converted one "
            "was not; give another --out, or move both away"
        )
        raise CheckpointError(msg)


def _stored(file: Path, body: bytes) -> tuple[Stored, Sequence[str]]:
    """The tensors, and the names of the two classes if there are some."""
    if file.suffix == SAFETENSORS:
        return parse(file, body), ()
    if file.suffix != ".npz":
        weights, values = split(file, parse_pickled(file, body))
        return Stored(weights, None, values), ()
    arrays = read_npz(file, body)
    stated = [arrays.pop(key) for key in ("classes_", "classes") if key in arrays]
    classes = [name for array in stated for name in array.reshape(-1).tolist()]
    text = next((name for name, array in arrays.items() if array.dtype.kind not in "fiu"), None)
    # scikit-learn sorts them; numbers in another order were turned, and perhaps the weights not.
    is_pair = len(stated) == 1 and len(set(classes)) == len(classes) == 2
    is_turned = is_pair and not isinstance(classes[0], str) and classes != sorted(classes)
    if text is not None or (stated and not is_pair) or is_turned:
        msg = (
            f"{file}: {text or 'classes_'}: expected numbers, and classes_ of two classes as "
            "scikit-learn has them"
        )
        raise CheckpointError(msg)
    weights = {n: torch.from_numpy(a.astype("float64")) for n, a in arrays.items()}
    return Stored({**weights}, None), [str(name) for name in classes]


def _of_classes(classes: Sequence[str]) -> set[Polarity]:
    """The polarities by the names of two classes: the second's, and the opposite of the first's."""
    zero, one = (polarity_of(name) for name in classes) if classes else (None, None)
    opposite = {p for p in Polarity if zero is not None and p is not zero}
    return opposite | ({one} if one is not None else set())


def _only(file: Path, stated: set[Polarity]) -> Polarity:
    if len(stated) != 1:
        lacks = "it is not known" if not stated else "its file and --scores contradict each other"
        msg = (
            f"{file}: what does a high score mean? {lacks}: --scores p_good, or p_undesirable. It "
            "is the event that was labelled 1"
        )
        raise CheckpointError(msg)
    return next(iter(stated))


def _require_activation(
    file: Path, card: HeadCard, found: Layers, activation: Activation | None
) -> None:
    """Refuse an activation that is stated and is not the one that was asked for."""
    own = set((activation or "").split("-"))
    for at, names in statements(card.meta).activations:
        if activation is not None and len(found.layers) > 1 and names - _NO_ACTIVATIONS != own:
            said = named(names)
            msg = f"{file}: {at} says {said}, --activation {activation}; correct the wrong one"
            raise CheckpointError(msg)


def _without_activations(card: HeadCard) -> Mapping[str, str | int | float | bool | None]:
    """The card's ``meta`` less what was true of the layers before they were converted."""
    gone = ACTIVATION_KEYS | OUTPUT_KEYS
    return {k: v for k, v in card.meta.items() if plain_key(k) not in gone}


def _ours(file: Path, found: Layers, size: int, activation: Activation | None) -> ValueHead:
    *inner, last = found.layers
    fits = {0: (None,), 1: ("tanh", "relu"), 2: ("tanh-relu",)}.get(len(inner), ())
    if activation not in fits:
        choices = " or ".join(str(name) for name in fits) or "nothing: it has too many layers"
        msg = (
            f"{file} holds {found.kind}; what follows the inner layers is not in the file. "
            f"--activation can be {choices}, and is {activation}; train another head where it is "
            "none of these"
        )
        raise CheckpointError(msg)
    step = (torch.eye(size) * STEP, torch.zeros(size))
    if activation == "tanh":
        layers, architecture = [*inner, last], Architecture.TWO_LAYER
    elif activation == "tanh-relu":
        layers, architecture = [*inner, last], Architecture.THREE_LAYER
    elif activation == "relu":
        layers, architecture = [step, _divided(inner[0]), last], Architecture.THREE_LAYER
    else:
        layers, architecture = [step, _divided(last)], Architecture.TWO_LAYER
    tensors = [tensor for layer in layers for tensor in layer]
    shapes = architecture.shapes(size).items()
    weights = {key: _filled(t, shape) for (key, shape), t in zip(shapes, tensors, strict=True)}
    return built(architecture, size, weights)


def _divided(layer: Layer) -> Layer:
    return layer[0] / STEP, layer[1]


def _filled(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Filled up with zeros; what reads them is zero as well."""
    whole = torch.zeros(shape)
    whole[tuple(slice(n) for n in tensor.shape)] = tensor.float()
    return whole


_SUFFIXES = (".npz", SAFETENSORS, ".pt", ".pth", ".bin")
_OBJECTS = (".joblib", ".pkl", ".pickle")
_NO_ACTIVATIONS = frozenset({"dropout", "none", "identity", "linear", "sigmoid"})
