"""A value head as the engine evaluates it: once per token, so every operation counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from value_steer.value_probe import ValueHead

    Score: TypeAlias = Callable[[Tensor], Tensor]
    """The probabilities that a head gives hidden states: ``[rows, hidden]`` to ``[rows]``, fp32."""

_WORTH_PACKING = 512
"""Hidden size from which oneDNN's packed weights are faster than plain ones (measured)."""

_TOLERANCE = 1e-4


class Scorer:
    """The probability that a head gives, with its weights laid out once.

    Args:
        head: On the device of the hidden states. Later changes of its weights are not seen.
    """

    def __init__(self, head: ValueHead) -> None:
        self._head = head
        *inner, last = head.linears
        self._layers = [_transposed(layer) for layer in inner]
        weight, bias = _transposed(last)
        self._last, self._bias = weight[:, 0].contiguous(), bias
        self._hidden: Callable[[Tensor], Tensor] = self._plain
        if head.device.type == "cpu" and head.hidden_size >= _WORTH_PACKING:
            self._pack(inner)

    @property
    def bytes(self) -> int:
        """Bytes of the weights on the device."""
        weights = [tensor for layer in self._layers for tensor in layer]
        return sum(tensor.nbytes for tensor in (*weights, self._last))

    def __call__(self, feature: Tensor) -> Tensor:
        """The probabilities of hidden states: ``[rows, hidden]`` to ``[rows]`` in fp32."""
        hidden = self._hidden(feature.float())
        return torch.addmv(self._bias, hidden, self._last).sigmoid_()

    def _plain(self, feature: Tensor) -> Tensor:
        (first, first_bias), *others = self._layers
        hidden = torch.addmm(first_bias, feature, first).tanh_()
        for weight, bias in others:
            hidden = torch.addmm(bias, hidden, weight).relu_()
        return hidden

    def _pack(self, linears: Sequence[nn.Linear]) -> None:
        """Use oneDNN's packed weights where torch has them and they give the same values."""
        mkldnn = cast("Any", torch.ops.mkldnn)
        if not hasattr(mkldnn, "_linear_pointwise"):
            return
        packed = [
            (
                mkldnn._reorder_linear_weight(linear.weight.detach()),  # noqa: SLF001
                linear.bias.detach(),
            )
            for linear in linears
        ]
        (first, first_bias), *others = packed
        apply = mkldnn._linear_pointwise.default  # noqa: SLF001

        def hidden(feature: Tensor) -> Tensor:
            between: Tensor = apply(feature, first, first_bias, "tanh", [], "")
            for weight, bias in others:
                between = apply(between, weight, bias, "relu", [], "")
            return between

        # No random numbers: the host's own draws must stay what they are.
        sample = torch.linspace(-1.0, 1.0, 2 * self._head.hidden_size).reshape(2, -1)
        with torch.inference_mode():
            if torch.allclose(hidden(sample), self._plain(sample), atol=_TOLERANCE):
                self._hidden = hidden


@dataclass(frozen=True, slots=True)
class Choice:
    """Which head scores which row of a batch.

    Attributes:
        index: ``[rows]`` int64.
        used: The heads that score any, in ascending order.
    """

    index: Tensor
    used: tuple[int, ...]


class Heads:
    """The heads of one mode, of which each row is scored by one.

    All read the same hidden state. A head that scores any row scores all of them, so that a value
    does not depend on which heads the other rows have.

    Args:
        scores: One per head.
    """

    def __init__(self, scores: Sequence[Score]) -> None:
        self._scores = scores

    @property
    def first(self) -> Score:
        """The score of a request that names no head."""
        return self._scores[0]

    def __call__(self, feature: Tensor, choice: Choice) -> Tensor:
        """The probabilities of hidden states: ``[rows, hidden]`` to ``[rows]`` in fp32."""
        first, *others = choice.used
        values = self._scores[first](feature)
        for head in others:
            values = torch.where(choice.index == head, self._scores[head](feature), values)
        return values


def complement(score: Score) -> Score:
    """The probability of the opposite event."""
    return lambda feature: 1.0 - score(feature)


def _transposed(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    return linear.weight.detach().t().contiguous(), linear.bias.detach()
