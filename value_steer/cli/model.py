"""What a model's own configuration says of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.errors import DataError
from value_steer.records.codec import parse_json

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Model:
    """A model.

    Attributes:
        hidden_size: Width of its hidden states.
        architectures: Its classes.
    """

    hidden_size: int
    architectures: tuple[str, ...]


_SAMPLES, _SAMPLE = 64, 1 << 16
_FROM_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


def model_digest(folder: Path) -> str:
    """Says whether two folders hold the same model, for the cost of a few MB of reading.

    Small files are taken whole, of weights beyond 4 MiB their sizes and 64 samples of 64 KiB spread
    evenly over each file: training changes them everywhere. It finds mistakes, not forgeries: two
    files that differ only between samples, a 63rd of the file apart, have one digest.

    Args:
        folder: Of the model.

    Raises:
        DataError: A file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
            digest.update(_sampled(file) if file.suffix in _FROM_WEIGHTS else file.read_bytes())
    except OSError as error:
        msg = f"{folder} cannot be read ({error}); give the folder of a model"
        raise DataError(msg) from error
    return digest.hexdigest()


def _sampled(file: Path) -> bytes:
    size = file.stat().st_size
    if size <= _SAMPLES * _SAMPLE:
        return file.read_bytes()
    parts = []
    with file.open("rb") as handle:
        for place in range(_SAMPLES):
            handle.seek(place * (size - _SAMPLE) // (_SAMPLES - 1))
            parts.append(handle.read(_SAMPLE))
    return b"".join(parts)


def read_model(folder: Path) -> Model:
    """Read a model's ``config.json``.

    Raises:
        DataError: There is none, or it states no hidden size.
    """
    path = folder / "config.json"
    try:
        body = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read ({error}); give the folder of a model"
        raise DataError(msg) from error
    outer = body if isinstance(body, dict) else {}
    # A model that also sees keeps it with its language model.
    configs = [c for c in (outer, outer.get("text_config"), outer.get("llm_config")) if c]
    stated = (c[name] for c in configs if isinstance(c, dict) for name in _WIDTHS if c.get(name))
    size = next(stated, 0)
    if type(size) is not int or size < 1:
        msg = f"{path} states no hidden size ({', '.join(_WIDTHS)}); is it a language model?"
        raise DataError(msg)
    listed = outer.get("architectures")
    architectures = listed if isinstance(listed, list) else ()
    return Model(size, tuple(map(str, architectures)))


_WIDTHS = ("hidden_size", "n_embd", "d_model", "model_dim")
"""As model families call the width of their hidden states."""
