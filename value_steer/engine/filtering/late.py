"""The rows whose tokens are held for one step, and what the tokens were sampled from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from value_steer.engine.live_request import LiveRequest
    from value_steer.engine.runners import Distributions


@dataclass(frozen=True, slots=True, eq=False)
class FilteredRow:
    """A filtered row of the sampled batch.

    Attributes:
        row: Where it is.
        id: The request's.
        request: What is known of it.
    """

    row: int
    id: str
    request: LiveRequest


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """One batch as it was sampled.

    Attributes:
        row_of: Of each request.
        tokens: ``[rows, 1]``, what the sequences end in since.
        source: What they were sampled from.
    """

    row_of: dict[str, int]
    tokens: Tensor
    source: Distributions


class Memory:
    """Held tokens and the distributions they were sampled from, for as long as they matter.

    Mostly that is the last batch; a request that was not scheduled since keeps its own.
    """

    def __init__(self) -> None:
        self._last: Sampled | None = None
        self._kept: dict[str, Sampled] = {}

    def note(self, sampled: Sampled, holding: Sequence[str]) -> None:
        """A batch was sampled.

        Args:
            sampled: The batch.
            holding: Requests of the batch before that hold a token.
        """
        last, self._last = self._last, sampled
        if last is None or last.row_of is sampled.row_of:
            return
        for name in holding:
            if name not in sampled.row_of:
                self._kept.setdefault(name, last)
        for name in sampled.row_of:
            self._kept.pop(name, None)

    def forget(self, request_id: str) -> None:
        """A request is over, or begins anew."""
        self._kept.pop(request_id, None)

    def of(self, request_id: str) -> Sampled:
        """The batch that a request was sampled in last."""
        sampled = self._kept.get(request_id, self._last)
        assert sampled is not None  # noqa: S101  (asked for requests that hold a token)
        return sampled

    def token(self, request_id: str) -> int:
        """The token that a request holds."""
        sampled = self.of(request_id)
        return int(sampled.tokens[sampled.row_of[request_id], 0])
