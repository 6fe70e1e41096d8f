"""Batches: what a loader yields, checked and brought to one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch

from value_steer.training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

RawBatch: TypeAlias = "Mapping[str, Tensor]"
"""``labels``, ``attention_mask``, ``response_mask``, and ``input_ids`` or ``hidden_states``."""


class CachedBatch(Protocol):
    """A batch of :mod:`value_steer.features`: responses whose hidden states are known.

    Attributes:
        hidden: ``[B, T, H]``.
        mask: ``[B, T]``, false on padding.
        labels: ``[B]``.
    """

    @property
    def hidden(self) -> Tensor: ...  # noqa: D102
    @property
    def mask(self) -> Tensor: ...  # noqa: D102
    @property
    def labels(self) -> Tensor: ...  # noqa: D102


Loader: TypeAlias = "Iterable[RawBatch | CachedBatch]"
"""Yields batches anew whenever it is iterated over, such as a ``DataLoader`` or a list."""

_KEYS = ("input_ids", "hidden_states", "attention_mask", "response_mask", "labels")


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The tokens of a batch that are trained on, in order of their rows and columns.

    Attributes:
        labels: ``[N]``, fp32, in [0, 1].
        rows: Which sequence each belongs to, ``[N]``.
        columns: Where in its sequence, ``[N]``.
    """

    labels: Tensor
    rows: Tensor
    columns: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Tokens:
        """The same on another device."""
        return Tokens(self.labels.to(device), self.rows.to(device), self.columns.to(device))


def as_mapping(batch: RawBatch | CachedBatch, at: str) -> RawBatch:
    """A batch by its keys.

    Raises:
        TrainingError: It is no batch.
    """
    if isinstance(batch, Mapping):
        return batch
    missing = [name for name in ("hidden", "mask", "labels") if not hasattr(batch, name)]
    if missing:
        msg = f"{at}: a {type(batch).__name__} is no batch; yield a mapping of {', '.join(_KEYS)}"
        raise TrainingError(msg)
    return {"hidden_states": batch.hidden, "response_mask": batch.mask, "labels": batch.labels}


def response_tokens(raw: RawBatch, shape: tuple[int, int], at: str) -> Tokens:
    """The tokens of a batch that are trained on.

    Args:
        raw: A batch.
        shape: Its ``(B, T)``.
        at: Where it came from, for error messages.

    Raises:
        TrainingError: A key is unknown or missing, a shape does not fit, a label is outside
            [0, 1], or there are no response tokens.
    """
    _require_known(raw, at)
    mask = _mask(raw, shape, at)
    if not mask.any():
        msg = (
            f"{at}: no response tokens; give every sequence at least one position at which "
            "attention_mask and response_mask are 1"
        )
        raise TrainingError(msg)
    rows, columns = mask.nonzero(as_tuple=True)
    return Tokens(_labels(raw["labels"], mask, at), rows, columns)


def _require_known(raw: RawBatch, at: str) -> None:
    unknown = sorted(set(raw) - set(_KEYS))
    if unknown:
        msg = f"{at}: unknown keys {', '.join(unknown)}; a batch may have {', '.join(_KEYS)}"
        raise TrainingError(msg)
    if "labels" not in raw:
        msg = f"{at}: no labels; give one in [0, 1] for each sequence, [B], or token, [B, T]"
        raise TrainingError(msg)


def _mask(raw: RawBatch, shape: tuple[int, int], at: str) -> Tensor:
    """Which positions are trained on, ``[B, T]``."""
    masks = [key for key in ("attention_mask", "response_mask") if key in raw]
    if not masks:
        msg = f"{at}: no attention_mask; give one, 1 for tokens and 0 for padding"
        raise TrainingError(msg)
    for key in masks:
        if tuple(raw[key].shape) != shape:
            msg = f"{at}: {key} has shape {tuple(raw[key].shape)}, expected {shape}"
            raise TrainingError(msg)
    mask = raw[masks[0]].bool()
    return mask & raw[masks[-1]].bool()


def _labels(labels: Tensor, mask: Tensor, at: str) -> Tensor:
    """The label of each position of the mask, ``[N]``."""
    size, length = mask.shape
    if labels.shape == (size,):
        labels = labels[:, None].expand(size, length)
    elif labels.shape != mask.shape:
        msg = (
            f"{at}: labels have shape {tuple(labels.shape)}, expected {(size,)} for one label a "
            f"sequence or {(size, length)} for one a token"
        )
        raise TrainingError(msg)
    chosen = labels[mask].to(torch.float32)
    # Written so that it also catches what is not a number.
    wrong = (~((chosen >= 0) & (chosen <= 1))).nonzero()
    if len(wrong):
        first = int(wrong[0])
        row, column = mask.nonzero()[first].tolist()
        msg = (
            f"{at}: the label of sequence {row} at position {column} is {chosen[first].item()}; "
            "labels are probabilities, from 0 to 1"
        )
        raise TrainingError(msg)
    return chosen
