"""Candidates on trial: what the hidden state would be if a sequence ended in another token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from value_steer.engine.run_ahead import RunAhead


@dataclass(frozen=True, slots=True)
class Trial:
    """Tokens that one sequence may end in.

    Attributes:
        request_id: The request.
        position: Of the token, in its sequence.
        tokens: At least one, each once.
    """

    request_id: str
    position: int
    tokens: Sequence[int]


class Prober(Protocol):
    """Runs candidates and makes one of them the end of its sequence."""

    def begin(self) -> None:
        """A new step: every sequence ends in the token that was run ahead."""

    def breadth(self, sequences: int) -> int:
        """How many tokens of each of so many sequences the next run should take."""

    def run(self, trials: Sequence[Trial]) -> Tensor:
        """Run every token of every trial.

        Returns:
            Features ``[tokens of all trials, hidden]``, trial by trial in the given order.
        """

    def holds(self, request_id: str, token: int) -> bool:
        """Whether a token that was run in this step can be kept without running it again."""

    def keep(self, ends: Sequence[Trial]) -> None:
        """Let sequences end in tokens that are held, one each."""


class WholeBatch:
    """Runs the decode step again with other tokens in it, one per sequence.

    It needs nothing of the host beyond what running ahead does. Where a forward pass is bound by
    memory, as decoding on an accelerator is, the rows that come along cost next to nothing.
    """

    def __init__(self, run_ahead: RunAhead) -> None:
        self._run_ahead = run_ahead
        self._last: dict[str, int] = {}

    def begin(self) -> None:
        """See :meth:`Prober.begin`."""
        self._last.clear()

    def breadth(self, sequences: int) -> int:
        """One: the row of a sequence holds one token."""
        del sequences
        return 1

    def run(self, trials: Sequence[Trial]) -> Tensor:
        """See :meth:`Prober.run`."""
        for trial in trials:
            self._last[trial.request_id] = trial.tokens[0]
            self._run_ahead.book(trial.request_id, trial.position, trial.tokens[0])
        look = self._run_ahead.run(self._run_ahead.kept.ends)
        rows = [look.ids.index(trial.request_id) for trial in trials]
        return look.feature[torch.tensor(rows, device=look.feature.device)]

    def holds(self, request_id: str, token: int) -> bool:
        """Whether it is the token that was run last, or none was; see :meth:`Prober.holds`."""
        return self._last.get(request_id, token) == token

    def keep(self, ends: Sequence[Trial]) -> None:
        """Nothing is left to do: what is held is what was run ahead last."""
