"""The content of a training run's file beside one state dict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from value_steer.errors import CheckpointError
from value_steer.value_probe.layout import named
from value_steer.value_probe.pickle_text import Odd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from value_steer.value_probe.stored import Weights


def split(file: Path, content: object) -> tuple[Weights, dict[str, Any]]:
    """The one state dict of a checkpoint, and the plain values beside it and in it.

    Raises:
        CheckpointError: It has none, or several sets of tensors, of which one would be chosen.
    """
    found = content if isinstance(content, dict) else {}
    inner = [k for k, v in found.items() if isinstance(v, dict) and _tensors(v)]
    beside = _tensors(found)
    # A generator's state is a tensor too, of whole numbers.
    floats = {k for k, t in beside.items() if not isinstance(t, Odd) and t.is_floating_point()}
    sets = [*map(str, inner), *(["tensors beside them"] if floats and inner else [])]
    if len(sets) > 1:
        msg = f"{file} holds several sets of tensors ({named(sets)}); save the head's alone"
        raise CheckpointError(msg)
    at = inner[0] if inner and str(inner[0]) in _INNER else None
    weights = beside if at is None else _tensors(found[at])
    if not weights or (inner and at is None):
        msg = f"{file} holds no state dict; save the tensors under their names"
        raise CheckpointError(msg)
    outer = {name: value for name, value in found.items() if name not in _STATES and name != at}
    try:
        return weights, _plain(outer | ({} if at is None else found[at]))
    except RecursionError as error:
        msg = f"{file} holds too much beside its tensors; save the tensors alone"
        raise CheckpointError(msg) from error


def _tensors(values: Mapping[Any, object]) -> Weights:
    return {str(k): v for k, v in values.items() if isinstance(v, (torch.Tensor, Odd))}


def _plain(values: Mapping[Any, object]) -> dict[str, Any]:
    """The values that JSON can express, those of inner dicts and lists included."""
    left = [_MOST]  # values of a pickle may hold each other, and so be without end

    def plain(value: object, depth: int) -> Any:  # noqa: ANN401  (of any kind)
        left[0] -= 1
        if left[0] < 0 or depth > _DEEPEST:
            raise RecursionError
        if isinstance(value, dict):
            return {
                str(k): plain(v, depth + 1) for k, v in value.items() if isinstance(v, _SAYABLE)
            }
        if isinstance(value, (list, tuple)):
            return [plain(item, depth + 1) for item in value if isinstance(item, _SAYABLE)]
        return value

    return dict(plain(values, 0))


_SAYABLE = (str, int, float, bool, dict, list, tuple, type(None))
_MOST, _DEEPEST = 100_000, 20
_INNER = ("state_dict", "model_state_dict", "model", "head", "value_head", "probe", "module")
"""Under which a training run's checkpoint keeps the state dict."""
_STATES = (
    *("optimizer", "optimizer_state_dict", "optimizer_states", "optim", "grad_scaler"),
    *("scheduler", "scheduler_state_dict", "lr_scheduler", "lr_scheduler_state_dict"),
    *("lr_schedulers", "rng_state"),
)
"""Of the training, not of the head."""
