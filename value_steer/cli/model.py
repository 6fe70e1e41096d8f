"""What a model's own configuration says of it."""

from __future__ import annotations

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
    inner = outer.get("text_config")  # of a model that also sees
    size = outer.get("hidden_size") or (inner.get("hidden_size") if isinstance(inner, dict) else 0)
    if not isinstance(size, int) or size < 1:
        msg = f"{path} states no hidden_size; is it a language model?"
        raise DataError(msg)
    return Model(size, tuple(map(str, outer.get("architectures") or ())))
