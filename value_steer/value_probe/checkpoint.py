"""Loading and saving value heads.

``.safetensors`` holds the weights and the card; ``.pt`` and ``.bin`` hold the bare state dict
that published heads have, with the card in ``<file>.meta.json`` beside either.
"""

from __future__ import annotations

import os
import pickle
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes

from value_steer.errors import CheckpointError
from value_steer.value_probe import card_json
from value_steer.value_probe.head import ValueHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from value_steer.value_probe.card import HeadCard

_CARD_KEY = "value_steer_card"
_PICKLED = (".pt", ".bin")
_WEIGHTS = ("0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias")


def load_value_head(path: str | os.PathLike[str], *, hidden_size: int | None = None) -> ValueHead:
    """Load a value head with its card, in fp32 on the CPU.

    Args:
        path: A ``.safetensors``, ``.pt`` or ``.bin`` file.
        hidden_size: The backbone's hidden size, if the head must fit one.

    Raises:
        CheckpointError: Says what is wrong with which file, and what to do.
    """
    file = Path(path)
    weights, embedded = _read(file)
    size = _hidden_size(file, weights)
    head = ValueHead(size)
    head.load_state_dict(weights)
    card = _card(file, embedded)
    if card is not None:
        _agree(file, "its card says", card.hidden_size, size)
        head.card = card
    if hidden_size is not None:
        _agree(file, "the model has", hidden_size, size)
    return head.requires_grad_(requires_grad=False)


def save_value_head(path: str | os.PathLike[str], head: ValueHead, card: HeadCard) -> None:
    """Write a head and its sidecar; each file is replaced atomically.

    Args:
        path: A ``.safetensors``, ``.pt`` or ``.bin`` file.
        head: The head; ``card`` is written in the place of its own.
        card: What to say of it.

    Raises:
        CheckpointError: The suffix is unknown, or card and head disagree about the hidden size.
    """
    file = Path(path)
    _agree(file, "its card says", card.hidden_size, head.hidden_size)
    text = card_json.dumps(card)
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in head.state_dict().items()}
    if file.suffix == ".safetensors":
        body = safetensors_bytes(weights, metadata={_CARD_KEY: text})
        _replace(file, lambda temporary: temporary.write_bytes(body))
    elif file.suffix in _PICKLED:
        _replace(file, lambda temporary: torch.save(weights, temporary))
    else:
        raise _unknown_suffix(file)
    _replace(sidecar(file), lambda temporary: temporary.write_text(text, encoding="utf-8"))


def sidecar(path: Path) -> Path:
    """The file beside a checkpoint that holds its card."""
    return path.with_name(path.name + ".meta.json")


def _read(file: Path) -> tuple[dict[str, Tensor], str | None]:
    """The weights, and the card's text if the file carries one."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        msg = f"{file} {what}; give the path of a .safetensors, .pt or .bin file"
        raise CheckpointError(msg)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    if file.suffix in _PICKLED:
        return _read_pickled(file), None
    raise _unknown_suffix(file)


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], str | None]:
    try:
        with safe_open(file, framework="pt", device="cpu") as tensors:
            metadata = tensors.metadata() or {}
            # A safetensors handle is no mapping, so its keys are asked for.
            weights = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        msg = f"{file} is truncated or no safetensors file ({error}); copy or export it again"
        raise CheckpointError(msg) from error
    return weights, metadata.get(_CARD_KEY)


def _read_pickled(file: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = (
            f"{file} holds something other than plain tensors, or no checkpoint at all; it is not "
            "executed. Export the state dict alone, best as .safetensors"
        )
        raise CheckpointError(msg) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        msg = f"{file} is truncated or no torch checkpoint ({error}); copy or export it again"
        raise CheckpointError(msg) from error
    if not isinstance(weights, dict) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        msg = f"{file} holds no bare state dict; save head.state_dict() with keys {_named(_WEIGHTS)}"
        raise CheckpointError(msg)
    return weights


def _hidden_size(file: Path, weights: dict[str, Tensor]) -> int:
    """The hidden size of a complete, well-shaped, finite set of weights."""
    missing, unexpected = set(_WEIGHTS) - weights.keys(), weights.keys() - set(_WEIGHTS)
    if missing or unexpected:
        msg = (
            f"{file} is not a value head: missing keys {_named(missing)}, unexpected keys "
            f"{_named(unexpected)}; expected exactly {_named(_WEIGHTS)}"
        )
        raise CheckpointError(msg)
    size = weights["0.weight"].shape[-1] if weights["0.weight"].dim() else 0
    square, wide = (size, size), (size,)
    expected = (square, wide, square, wide, (1, size), (1,))
    for key, shape in zip(_WEIGHTS, expected, strict=True):
        if tuple(weights[key].shape) != shape:
            found = tuple(weights[key].shape)
            msg = f"{file}: {key} has shape {found}, expected {shape} for hidden size {size}"
            raise CheckpointError(msg)
        if not weights[key].is_floating_point() or not weights[key].isfinite().all():
            msg = f"{file}: {key} holds values that are not finite numbers; the head is unusable"
            raise CheckpointError(msg)
    return size


def _card(file: Path, embedded: str | None) -> HeadCard | None:
    inside = None if embedded is None else card_json.loads(embedded, f"{file} (metadata)")
    path = sidecar(file)
    if not path.exists():
        return inside
    beside = card_json.loads(path.read_text(encoding="utf-8"), str(path))
    if inside is not None and inside != beside:
        msg = f"{path} contradicts the card inside {file.name}; delete the one that is out of date"
        raise CheckpointError(msg)
    return beside


def _agree(file: Path, says: str, expected: int, size: int) -> None:
    if expected != size:
        msg = (
            f"{file} holds a head for hidden size {size}, but {says} hidden size {expected}; "
            "use the head that was trained on this backbone"
        )
        raise CheckpointError(msg)


def _unknown_suffix(file: Path) -> CheckpointError:
    return CheckpointError(f"{file}: unknown suffix {file.suffix!r}; use .safetensors, .pt or .bin")


def _named(keys: object) -> str:
    return ", ".join(sorted(keys)) or "none"  # type: ignore[call-overload]


def _replace(file: Path, write: Callable[[Path], object]) -> None:
    """Write through a temporary file in the same folder, so that no reader sees half of it."""
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
