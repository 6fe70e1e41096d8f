"""Loading and saving value heads.

``.safetensors`` holds the weights and the card; ``.pt`` and ``.bin`` hold the bare state dict
that published heads have. The card is in ``<file>.meta.json`` beside either, with the hash of the
weights that it belongs to.
"""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save as safetensors_bytes

from value_steer.errors import CheckpointError
from value_steer.value_probe import card_json, published
from value_steer.value_probe.head import ValueHead
from value_steer.value_probe.layout import recognised, unwrapped
from value_steer.value_probe.stored import CARD_KEY, SAFETENSORS, Stored, parse
from value_steer.value_probe.tie import Beside, read_tied, sidecar, write_tied

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor

    from value_steer.value_probe.card import HeadCard
    from value_steer.value_probe.head import Architecture

__all__ = ["load_value_head", "save_value_head", "sidecar"]

logger = logging.getLogger("value_steer")

SUFFIXES = (SAFETENSORS, ".pt", ".bin")


def load_value_head(path: str | os.PathLike[str], *, hidden_size: int | None = None) -> ValueHead:
    """Load a value head with its card, in fp32 on the CPU and with gradients off.

    Weights and card are of one and the same save, also while another process saves the head.

    Args:
        path: A ``.safetensors``, ``.pt`` or ``.bin`` file.
        hidden_size: The backbone's hidden size, if the head must fit one.

    Raises:
        CheckpointError: Says what is wrong with which file, and what to do. Refused are files that
            hold code, claim more than they hold or are beyond
            :mod:`value_steer.value_probe.limits`; tensors that are no head of ours, with the
            conversion that makes one of them; cards that state another tensor than ``lm_head``
            reads, contradict the weights or themselves, or belong to other weights.
    """
    file = Path(path)
    body, beside = read_tied(file)
    _require_suffix(file)
    stored = parse(file, body)
    del body  # a head may have gigabytes
    architecture, size, weights = recognised(file, unwrapped(stored.weights))
    if hidden_size is not None:
        _agree(file, "the model has", hidden_size, size)
    card = card_of(file, stored, beside, architecture, size)
    head = built(architecture, size, weights)
    if card is not None:
        _agree(file, "its card says", card.hidden_size, size)
        head.card = card
    return head


def save_value_head(path: str | os.PathLike[str], head: ValueHead, card: HeadCard) -> None:
    """Write a head and its sidecar; cut off anywhere, the old or the new head is there, whole.

    Args:
        path: A ``.safetensors``, ``.pt`` or ``.bin`` file.
        head: The head; ``card`` is written in the place of its own.
        card: What to say of it.

    Raises:
        CheckpointError: :func:`load_value_head` would refuse the files, or they cannot be written,
            because a disk is full for instance; what was there is kept.
    """
    file = Path(path)
    _require_suffix(file)
    text = card_json.dumps(card)
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in head.state_dict().items()}
    _agree(file, "its card says", card.hidden_size, recognised(file, weights)[1])
    if file.suffix == SAFETENSORS:
        body = safetensors_bytes(weights, metadata={CARD_KEY: text})
    else:
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        body = buffer.getvalue()
    published.refuse_contradictions(card, "the card", head.architecture)
    tied = card_json.dumps(card, hashlib.sha256(body).hexdigest())
    write_tied(file, body, tied.encode())


def built(architecture: Architecture, size: int, weights: Mapping[str, Tensor]) -> ValueHead:
    """A head in fp32 of weights that fit, with gradients off."""
    # Without storage at first: neither random numbers nor memory are spent on what is replaced.
    with torch.device("meta"):
        head = ValueHead(size, architecture)
    # Each parameter has memory of its own, which a file need not have given it.
    whole = [tensor.untyped_storage().data_ptr() for tensor in weights.values()]
    own = {
        key: tensor.to(torch.float32, copy=whole.count(at) > 1).contiguous()
        for (key, tensor), at in zip(weights.items(), whole, strict=True)
    }
    head.load_state_dict(own, assign=True)
    return head.requires_grad_(requires_grad=False).eval()


def _require_suffix(file: Path) -> None:
    if file.suffix not in SUFFIXES:
        msg = f"{file}: unknown suffix {file.suffix!r}; use .safetensors, .pt or .bin"
        raise CheckpointError(msg)


def card_of(
    file: Path,
    stored: Stored,
    beside: Beside | None,
    architecture: Architecture | None,
    hidden_size: int,
) -> HeadCard | None:
    """The card of weights that were read, with what else their file says of them.

    Args:
        file: The weights' file, for messages.
        stored: What it holds.
        beside: The card beside it.
        architecture: Of the weights, if the activations that a card states must be its own.
        hidden_size: Of the weights.

    Raises:
        CheckpointError: A card cannot be trusted, or the file itself says otherwise.
    """
    card = _card_of(file, stored, beside, architecture, hidden_size)
    values = {name: value for name, value in stored.stated.items() if name != "format"}
    if not values:
        return card
    source = f"{file} (beside its tensors)"
    own = published.card_of_values(values, source, hidden_size, architecture)
    return own if card is None else published.joined(card, own, source)


def _card_of(
    file: Path,
    stored: Stored,
    beside: Beside | None,
    architecture: Architecture | None,
    hidden_size: int,
) -> HeadCard | None:
    """The card from inside the weights' file or from beside it."""
    inside = None
    if stored.card is not None:
        source = f"{file} (metadata)"
        inside = card_json.loads(stored.card, source)
        published.refuse_contradictions(inside, source, architecture)
    if beside is None:
        return inside
    if not beside.belongs:
        return _instead_of(beside, file, inside)
    source = str(beside.source)
    found = published.read_card(beside.text, source, hidden_size, architecture)
    if found is None:
        found = card_json.loads(beside.text, source)
        published.refuse_contradictions(found, source, architecture)
    if inside is not None and inside != found:
        msg = (
            f"{beside.source} contradicts the card inside {file.name}; delete the sidecar, or save "
            "the head again with the card that is right"
        )
        raise CheckpointError(msg)
    return found


def _instead_of(beside: Beside, file: Path, inside: HeadCard | None) -> HeadCard:
    """The card inside, which is of the same bytes as the weights, where the sidecar is not."""
    if inside is None:
        msg = (
            f"{beside.source} belongs to other weights than those in {file.name}: one of the two "
            "was replaced without the other. Put the files of one save together again; if the card "
            f"does describe these weights, remove {card_json.WEIGHTS} from it; else delete it"
        )
        raise CheckpointError(msg)
    logger.warning(
        "%s belongs to other weights than those in %s; the card inside that file is used",
        beside.source,
        file.name,
    )
    return inside


def _agree(file: Path, says: str, expected: int, size: int) -> None:
    if expected != size:
        msg = (
            f"{file} holds a head for hidden size {size}, but {says} hidden size {expected}; "
            "use the head that was trained on this backbone"
        )
        raise CheckpointError(msg)
