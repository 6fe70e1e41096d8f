"""The tensors of a head's file, from bytes that were read once."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load

from value_steer.errors import CheckpointError
from value_steer.records.codec import parse_json
from value_steer.value_probe.limits import MAX_HEAD_BYTES, MAX_HEADER_BYTES
from value_steer.value_probe.pickle_text import DamagedError, NotPlainError, Odd
from value_steer.value_probe.pickled import read_pickled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import TypeAlias

    from torch import Tensor

    Weights: TypeAlias = "dict[str, Tensor | Odd]"

CARD_KEY = "value_steer_card"
"""Metadata of a ``.safetensors`` file that holds the card."""

SAFETENSORS = ".safetensors"


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of a head's file.

    Attributes:
        weights: Its tensors, in whatever precision they are.
        card: Text of the card inside, which only ``.safetensors`` has.
        stated: What else the file says beside its tensors.
    """

    weights: Weights
    card: str | None
    stated: Mapping[str, Any] = field(default_factory=dict)


def read_bytes(file: Path, most: int = MAX_HEAD_BYTES) -> bytes:
    """All of a file, at one moment.

    Raises:
        CheckpointError: It cannot be read or has more than ``most`` bytes.
    """
    try:
        mode = file.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder says what it is
            msg = "it is no file"
            raise ValueError(msg)  # noqa: TRY301  (a pipe would be waited for without end)
        with file.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            # No more than that: asking for n bytes takes memory for n.
            body = handle.read(size) if size <= most else None
    except (OSError, ValueError) as error:
        msg = (
            f"{file} cannot be opened ({error}); give the path of a .safetensors, .pt or .bin file"
        )
        raise CheckpointError(msg) from error
    if body is None:
        msg = f"{file} is larger than the {most} bytes that such a file may have; is it the head?"
        raise CheckpointError(msg)
    return body


def parse(file: Path, body: bytes) -> Stored:
    """The tensors in the bytes of a file; nothing of it is executed.

    Args:
        file: For its suffix and for messages.
        body: All of it.

    Raises:
        CheckpointError: It is damaged, or claims or holds something else than plain tensors.
    """
    if file.suffix != SAFETENSORS:
        return Stored(_state_dict(file, body), None)
    try:
        return _safetensors(body)
    # The library raises RuntimeError for shapes that no memory has the addresses for.
    except (SafetensorError, ValueError, RuntimeError, OverflowError) as error:
        msg = f"{file} is truncated or no safetensors file ({error}); copy or export it again"
        raise CheckpointError(msg) from error


def parse_pickled(file: Path, body: bytes) -> object:
    """The content of a ``.pt`` or ``.bin`` file, see :func:`read_pickled`.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        return read_pickled(body)
    except NotPlainError as error:
        msg = (
            f"{file} holds something other than plain tensors, or no checkpoint at all ({error}); "
            "it is not executed. Export the state dict alone, best as .safetensors"
        )
        raise CheckpointError(msg) from error
    except DamagedError as error:
        msg = f"{file} is truncated or no torch checkpoint ({error}); copy or export it again"
        raise CheckpointError(msg) from error


def _state_dict(file: Path, body: bytes) -> Weights:
    content = parse_pickled(file, body)
    state = content if isinstance(content, dict) else {None: None}
    if not all(isinstance(value, (torch.Tensor, Odd)) for value in state.values()):
        msg = f"{file} holds no bare state dict; save the tensors alone, under their names"
        raise CheckpointError(msg)
    return {str(key): value for key, value in state.items()}


def _safetensors(body: bytes) -> Stored:
    length = int.from_bytes(body[:8], "little")
    if not 8 <= 8 + length <= len(body) or length > MAX_HEADER_BYTES:
        msg = f"a header of {length} bytes"
        raise ValueError(msg)
    header = parse_json(body[8 : 8 + length])
    if not isinstance(header, dict):
        msg = "its header is no object"
        raise ValueError(msg)  # noqa: TRY004  (of the file, not of the program)
    metadata = header.pop("__metadata__", None) or {}
    odd = {
        name: Odd(str(entry.get("dtype")))
        for name, entry in header.items()
        if isinstance(entry, dict) and entry.get("dtype") not in _DTYPES
    }
    # The library cannot build all the types that it knows; to these it is not asked.
    weights: Weights = {**odd} if odd else {**safetensors_load(body)}
    stated = {**metadata} if isinstance(metadata, dict) else {}
    card = stated.pop(CARD_KEY, None)
    values = {name: _value(text) for name, text in stated.items()}
    return Stored(weights, card if isinstance(card, str) else None, values)


def _value(text: object) -> object:
    """The value behind a text of the metadata: all values there are texts."""
    try:
        return parse_json(text) if isinstance(text, str) else text
    except ValueError:
        return text


_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL")
