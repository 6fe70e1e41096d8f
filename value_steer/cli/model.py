"""The folder of a model: its configuration, its tokenizer, and the model itself."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from value_steer.cli.one_line import one_line
from value_steer.errors import DataError
from value_steer.records.codec import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch

    from value_steer.features.engine import Tokenizer
    from value_steer.features.prefill import CausalLM


@dataclass(frozen=True, slots=True)
class Model:
    """A model.

    Attributes:
        hidden_size: Width of its hidden states.
        architectures: Its classes.
    """

    hidden_size: int
    architectures: tuple[str, ...]


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a model's folder; nothing is asked of a network.

    Raises:
        DataError: There is none, or it cannot be loaded.
    """
    transformers = import_module("transformers")
    with _loading(folder, "tokenizer"):
        tokenizer: Tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True
        )
    return tokenizer


def load_model(folder: Path, dtype: torch.dtype | None = None) -> CausalLM:
    """The causal language model in a folder, ready to be read from; see :func:`load_tokenizer`.

    Args:
        folder: Of the model.
        dtype: Of its weights; ``None`` for the one they are stored in.

    Raises:
        DataError: There is none, or it cannot be loaded.
    """
    transformers = import_module("transformers")
    with _loading(folder, "model"):
        model: CausalLM = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, **({} if dtype is None else {"dtype": dtype})
        ).eval()
    return model


@contextmanager
def _loading(folder: Path, what: str) -> Iterator[None]:
    # It writes pages of advice and progress to standard error.
    logs = import_module("transformers").utils.logging
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    except ModuleNotFoundError:
        raise
    # What is wrong in a folder comes out of transformers, and the libraries below it, as any of
    # Python's errors, and as some that share no other base.
    except Exception as error:
        why = one_line(str(error)).partition(". ")[0] or type(error).__name__
        msg = f"{folder}: its {what} cannot be loaded ({why}); give the folder of a whole model"
        raise DataError(msg) from error


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
