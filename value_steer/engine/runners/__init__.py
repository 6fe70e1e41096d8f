"""The differences between the host's model runners, behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Generator, Tensor

    from value_steer.engine.delivery.outbox import Score


class ModelRunner(Protocol):
    """A model runner of the host, as far as value filtering touches it."""

    def run_again(self, output: Any, tokens: Mapping[int, int], ids: Sequence[str]) -> None:
        """Let rows take their last position again, ending in another token there.

        Between the host's sampling and its bookkeeping, so that what it records is that token.

        Args:
            output: What the host's sampler gave, changed in place.
            tokens: Row to the token that its sequence ends in.
            ids: The requests, in row order.
        """

    def generator(self, request_id: str) -> Generator | None:
        """A request's own source of randomness; ``None`` if it has none."""


class Distributions(Protocol):
    """The distributions that one batch was sampled from, one per row, as long as they are kept.

    They are the processed ones: penalties, biases, grammars, temperature, top-k and top-p are in.
    """

    def of(self, rows: Sequence[int]) -> Tensor:
        """The processed logits of rows, ``[rows, vocabulary]``."""

    def generators(self, rows: Sequence[int]) -> Sequence[Generator | None]:
        """Sources of randomness for further draws that the host does not use itself.

        ``None``: the request's own is to be used.
        """

    def score(self, row: int, token: int) -> Score | None:
        """A token's entry in the host's table of log-probabilities; ``None``: no table."""


class Draws(Protocol):
    """Keeps what batches are sampled from."""

    def take(self) -> Distributions:
        """The distributions that the last batch was sampled from."""
