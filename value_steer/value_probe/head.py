"""The scalar value head on the hidden state that ``lm_head`` reads."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import dropout, linear

from value_steer.value_probe.card import HeadCard

if TYPE_CHECKING:
    import torch
    from torch import Tensor


_DROPOUT = 0.1


class Architecture(str, Enum):
    """The layers of a head.

    ``THREE_LAYER`` is ``Linear(H, H)``, ``Tanh``, ``Linear(H, H)``, ``ReLU``, ``Linear(H, 1)``: the
    dense value model of "Selective Safety Steering via Value-Filtered Decoding".
    ``TWO_LAYER`` is ``Linear(H, H)``, ``Tanh``, ``Dropout(0.1)``, ``Linear(H, 1)``: the head of
    "Knowing When to Quit".
    """

    THREE_LAYER = "three_layer"
    TWO_LAYER = "two_layer"

    def shapes(self, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor of the state dict, in order."""
        square, wide = (hidden_size, hidden_size), (hidden_size,)
        inner = ("0", "2") if self is Architecture.THREE_LAYER else ("0",)
        last = "4" if self is Architecture.THREE_LAYER else "3"
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in inner:
            shapes |= {f"{layer}.weight": square, f"{layer}.bias": wide}
        return shapes | {f"{last}.weight": (1, hidden_size), f"{last}.bias": (1,)}


class ValueHead(nn.Sequential):
    """A small network in fp32 from a hidden state to a logit.

    Its state dict has the bare keys that published heads use: ``0.weight`` to ``4.bias``, or to
    ``3.bias`` with two layers.

    Args:
        hidden_size: Width H of the backbone's hidden state.
        architecture: Its layers.

    Attributes:
        architecture: Its layers.
        linears: The linear ones: ``tanh`` follows the first, ``relu`` the second of three.
        card: What is known about the head beside its weights.
    """

    def __init__(
        self, hidden_size: int, architecture: Architecture = Architecture.THREE_LAYER
    ) -> None:
        deep = architecture is Architecture.THREE_LAYER
        first = nn.Linear(hidden_size, hidden_size)
        middle = (
            [nn.Linear(hidden_size, hidden_size), nn.ReLU()] if deep else [nn.Dropout(_DROPOUT)]
        )
        last = nn.Linear(hidden_size, 1)
        super().__init__(first, nn.Tanh(), *middle, last)
        self.float()
        self.linears = tuple(layer for layer in self if isinstance(layer, nn.Linear))
        self.architecture = architecture
        self.hidden_size = hidden_size
        self.card = HeadCard(hidden_size=hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def logit(self, hidden: Tensor) -> Tensor:
        """Raw logit of each hidden state.

        Args:
            hidden: ``[..., H]``, any floating-point dtype.

        Returns:
            ``[...]`` in fp32.

        Raises:
            ValueError: The last dimension is not H.
        """
        if hidden.shape[-1:] != (self.hidden_size,):
            msg = (
                f"the head reads hidden states of size {self.hidden_size}, got shape "
                f"{tuple(hidden.shape)}; it belongs to another backbone"
            )
            raise ValueError(msg)
        # One call per token: the functional form takes half the time of the modules' own.
        first, *middle, last = self.linears
        hidden = linear(hidden.float(), first.weight, first.bias).tanh_()
        for layer in middle:
            hidden = linear(hidden, layer.weight, layer.bias).relu_()
        if self.training and not middle:
            hidden = dropout(hidden, _DROPOUT)
        return linear(hidden, last.weight, last.bias).squeeze(-1)

    def p(self, hidden: Tensor) -> Tensor:
        """Probability of what the head scores: ``[..., H]`` to ``[...]`` in fp32."""
        return self.logit(hidden).sigmoid()
