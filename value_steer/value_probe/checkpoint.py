"""Loading and saving value heads.

``.safetensors`` holds the weights and the card; ``.pt`` and ``.bin`` hold the bare state dict
that published heads have. The card is in ``<file>.meta.json`` beside either.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes

from value_steer.errors import CheckpointError
from value_steer.records.files import replacing
from value_steer.value_probe import card_json, published
from value_steer.value_probe.head import Architecture, ValueHead

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from value_steer.value_probe.card import HeadCard

_CARD_KEY = "value_steer_card"
_SAFETENSORS = ".safetensors"
_SUFFIXES = (_SAFETENSORS, ".pt", ".bin")


def load_value_head(path: str | os.PathLike[str], *, hidden_size: int | None = None) -> ValueHead:
    """Load a value head with its card, in fp32 on the CPU and with gradients off.

    Args:
        path: A ``.safetensors``, ``.pt`` or ``.bin`` file.
        hidden_size: The backbone's hidden size, if the head must fit one.

    Raises:
        CheckpointError: Says what is wrong with which file, and what to do.
    """
    file = Path(path)
    _require_readable(file)
    is_safetensors = file.suffix == _SAFETENSORS
    stored, embedded = _read_safetensors(file) if is_safetensors else (_read_pickle(file), None)
    architecture, size = _recognised(file, stored)
    head = ValueHead(size, architecture)
    head.load_state_dict(stored)
    card = _card(file, embedded, size)
    if card is not None:
        _agree(file, "its card says", card.hidden_size, size)
        head.card = card
    if hidden_size is not None:
        _agree(file, "the model has", hidden_size, size)
    return head.requires_grad_(requires_grad=False).eval()


def save_value_head(path: str | os.PathLike[str], head: ValueHead, card: HeadCard) -> None:
    """Write a head and its sidecar; each file is replaced atomically.

    Args:
        path: A ``.safetensors``, ``.pt`` or ``.bin`` file.
        head: The head; ``card`` is written in the place of its own.
        card: What to say of it.

    Raises:
        CheckpointError: :func:`load_value_head` would refuse the files.
    """
    file = Path(path)
    _require_suffix(file)
    text = card_json.dumps(card)
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in head.state_dict().items()}
    _agree(file, "its card says", card.hidden_size, _recognised(file, weights)[1])
    if file.suffix == _SAFETENSORS:
        body = safetensors_bytes(weights, metadata={_CARD_KEY: text})
    else:
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        body = buffer.getvalue()
    for target, content in ((file, body), (sidecar(file), text.encode())):
        with replacing(target) as handle:
            handle.write(content)


def sidecar(path: Path) -> Path:
    """The file beside a checkpoint that holds its card."""
    return path.with_name(path.name + ".meta.json")


def _require_suffix(file: Path) -> None:
    if file.suffix not in _SUFFIXES:
        msg = f"{file}: unknown suffix {file.suffix!r}; use .safetensors, .pt or .bin"
        raise CheckpointError(msg)


def _require_readable(file: Path) -> None:
    try:
        file.open("rb").close()
    except (OSError, ValueError) as error:
        msg = (
            f"{file} cannot be opened ({error}); give the path of a .safetensors, .pt or .bin file"
        )
        raise CheckpointError(msg) from error
    _require_suffix(file)


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], str | None]:
    """The weights, and the card's text if the file carries one."""
    try:
        with safe_open(file, framework="pt", device="cpu") as tensors:
            metadata = tensors.metadata() or {}
            # A safetensors handle is no mapping, so its keys are asked for.
            weights = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        msg = f"{file} is truncated or no safetensors file ({error}); copy or export it again"
        raise CheckpointError(msg) from error
    return weights, metadata.get(_CARD_KEY)


def _read_pickle(file: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = (
            f"{file} holds something other than plain tensors, or no checkpoint at all; it is not "
            "executed. Export the state dict alone, best as .safetensors"
        )
        raise CheckpointError(msg) from error
    except Exception as error:  # Reading a damaged pickle can raise nearly anything.
        msg = f"{file} is truncated or no torch checkpoint ({error}); copy or export it again"
        raise CheckpointError(msg) from error
    is_dict = isinstance(weights, dict)
    if not is_dict or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        msg = f"{file} holds no bare state dict; save one with the keys {_KNOWN}"
        raise CheckpointError(msg)
    return dict(weights)


def _recognised(file: Path, weights: Mapping[str, Tensor]) -> tuple[Architecture, int]:
    """Architecture and hidden size of a complete, well-shaped, finite set of weights."""
    architecture = min(Architecture, key=lambda a: len(a.shapes(1).keys() ^ weights.keys()))
    keys = architecture.shapes(1).keys()
    missing, unexpected = keys - weights.keys(), weights.keys() - keys
    if missing or unexpected:
        msg = (
            f"{file} is not a value head: missing keys {_named(missing)}, unexpected keys "
            f"{_named(unexpected)}; expected exactly {_KNOWN}"
        )
        raise CheckpointError(msg)
    size = max(1, weights["0.bias"].numel())
    for key, shape in architecture.shapes(size).items():
        found = tuple(weights[key].shape)
        if found != shape:
            msg = f"{file}: {key} has shape {found}, expected {shape} for hidden size {size}"
            raise CheckpointError(msg)
        if not _is_finite(weights[key]):
            msg = f"{file}: {key} is not made of finite fp32 numbers; train or export it again"
            raise CheckpointError(msg)
    return architecture, size


def _is_finite(tensor: Tensor) -> bool:
    is_dense = tensor.layout is torch.strided and tensor.device.type == "cpu"
    return is_dense and tensor.is_floating_point() and bool(tensor.float().isfinite().all())


def _card(file: Path, embedded: str | None, hidden_size: int) -> HeadCard | None:
    inside = None if embedded is None else card_json.loads(embedded, f"{file} (metadata)")
    path = sidecar(file)
    if not path.exists():
        return inside
    try:
        text = path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read ({error}); it must be the JSON file of the head's card"
        raise CheckpointError(msg) from error
    source = str(path)
    beside = published.read_card(text, source, hidden_size) or card_json.loads(text, source)
    if inside is not None and inside != beside:
        msg = (
            f"{path} contradicts the card inside {file.name}; delete the sidecar, or save the "
            "head again with the card that is right"
        )
        raise CheckpointError(msg)
    return beside


def _agree(file: Path, says: str, expected: int, size: int) -> None:
    if expected != size:
        msg = (
            f"{file} holds a head for hidden size {size}, but {says} hidden size {expected}; "
            "use the head that was trained on this backbone"
        )
        raise CheckpointError(msg)


def _named(keys: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, keys))) or "none"


_KNOWN = " or ".join(_named(architecture.shapes(1)) for architecture in Architecture)
