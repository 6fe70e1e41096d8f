"""The feature of every token, from a frozen causal language model of ``transformers``."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from value_steer.training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from value_steer.training.options import Precision

_NO_FEATURE = (
    "the backbone neither has output embeddings nor returns hidden_states when it is called with "
    "output_hidden_states=True; give a causal language model of transformers, or train on cached "
    "hidden_states with backbone=None"
)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A model of which only the tensor that ``lm_head`` consumes is wanted.

    Attributes:
        model: A causal language model of ``transformers``.
        autocast: Precision of its forward pass; ``None`` for that of its weights.
    """

    model: nn.Module
    autocast: Precision | None = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within it, the model is in evaluation mode; after it, in whatever mode it was."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode

    @torch.no_grad()
    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The input of ``lm_head`` after each token: final layer, after the final norm.

        Args:
            input_ids: ``[B, T]``.
            attention_mask: ``[B, T]``, with the padding on the right.

        Returns:
            ``[B, T, H]`` in the precision of the forward pass.

        Raises:
            TrainingError: The padding is on the left, or the model does not give the feature.
        """
        if (attention_mask[:, 1:] > attention_mask[:, :-1]).any():
            msg = (
                "the padding must be on the right, for positions are counted from the first "
                'column; set tokenizer.padding_side = "right"'
            )
            raise TrainingError(msg)
        device = next(self.model.parameters()).device
        inputs = {"input_ids": input_ids.to(device), "attention_mask": attention_mask.to(device)}
        dtype = None if self.autocast is None else getattr(torch, self.autocast)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            lm_head = _lm_head(self.model)
            hidden = (
                _hidden_states(self.model, inputs)
                if lm_head is None
                else (_consumed(self.model, lm_head, inputs))
            )
        if hidden.shape[:2] != input_ids.shape:
            msg = f"the backbone gave features of shape {tuple(hidden.shape)} for "
            raise TrainingError(msg + f"tokens of shape {tuple(input_ids.shape)}; {_NO_FEATURE}")
        return hidden


def _lm_head(model: nn.Module) -> nn.Module | None:
    ask = getattr(model, "get_output_embeddings", None)
    lm_head = ask() if callable(ask) else None
    return lm_head if isinstance(lm_head, nn.Module) else None


def _consumed(model: nn.Module, lm_head: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """The argument of ``lm_head``, which is left only the last position to work on."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(arguments[0])
        return (arguments[0][:, -1:], *arguments[1:])

    handle = lm_head.register_forward_pre_hook(keep)
    try:
        model(**inputs, use_cache=False)
    finally:
        handle.remove()
    if len(seen) != 1:
        msg = f"the backbone called its output embeddings {len(seen)} times in a pass, not once"
        raise TrainingError(msg)
    return seen[0]


def _hidden_states(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """The last of the hidden states that the model returns."""
    try:
        output = model(**inputs, output_hidden_states=True)
    except TypeError as error:
        raise TrainingError(_NO_FEATURE) from error
    layers = getattr(output, "hidden_states", None)
    if not layers:
        raise TrainingError(_NO_FEATURE)
    last: Tensor = layers[-1]
    return last
