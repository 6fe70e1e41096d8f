"""The scalar value head on the hidden state that ``lm_head`` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import linear

from value_steer.value_probe.card import HeadCard

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ValueHead(nn.Sequential):
    """``Linear(H, H)``, ``Tanh``, ``Linear(H, H)``, ``ReLU``, ``Linear(H, 1)``, in fp32.

    Its state dict has the bare keys ``0.weight`` to ``4.bias`` that published heads use.

    Args:
        hidden_size: Width H of the backbone's hidden state.

    Attributes:
        card: What is known about the head beside its weights.

    Source: the dense value model of "Selective Safety Steering via Value-Filtered Decoding".
    """

    def __init__(self, hidden_size: int) -> None:
        first = nn.Linear(hidden_size, hidden_size)
        second = nn.Linear(hidden_size, hidden_size)
        last = nn.Linear(hidden_size, 1)
        super().__init__(first, nn.Tanh(), second, nn.ReLU(), last)
        self.float()
        self._linears = (first, second, last)
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
        first, second, last = self._linears
        hidden = linear(hidden.float(), first.weight, first.bias).tanh_()
        hidden = linear(hidden, second.weight, second.bias).relu_()
        return linear(hidden, last.weight, last.bias).squeeze(-1)

    def p(self, hidden: Tensor) -> Tensor:
        """Probability of what the head scores: ``[..., H]`` to ``[...]`` in fp32."""
        return self.logit(hidden).sigmoid()
