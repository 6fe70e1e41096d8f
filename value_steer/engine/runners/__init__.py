"""What differs between the host's model runners, behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor
    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.engine.draws import Redraw
    from value_steer.engine.looks import Look


class ModelRunner(Protocol):
    """A model runner of the host, as far as value filtering touches it."""

    def take_look(self) -> Look:
        """Take out what the runner keeps after the first call of a step."""

    def reinstate(self, look: Look, step: SchedulerOutput) -> None:
        """Let ``step`` go on from what was taken out, without running it again."""

    def can_reinstate(self, look: Look, ids: Sequence[str]) -> bool:
        """Whether a step of these requests can."""

    def book(self, request_id: str, position: int, token: int) -> None:
        """Let a sequence end in ``token``, which replaces the one booked at its last position."""

    def take_back(self, request_id: str, position: int, look: Look, feature: Tensor) -> None:
        """Let a sequence end before the token booked last, and a row of a look repeat its step.

        Args:
            request_id: The request.
            position: Of the token that the sequence ends in then.
            look: A step that was run with the token taken back.
            feature: The hidden state that token was sampled from, ``[hidden]``.
        """

    def blocks(self, request_id: str) -> Iterable[int]:
        """How many cache blocks a request has, in each cache group."""


class Draws(Protocol):
    """Further draws from the distributions that the last batch was sampled from."""

    def again(self, redraws: Sequence[Redraw]) -> list[list[int]]:
        """The token ids of further candidates, one list per redraw, in draw order.

        A random row draws with replacement from randomness of its request's own; no other
        request's draws move. A greedy row gives its most probable tokens, ties by token id.
        """

    def probabilities(self, row: int, tokens: Sequence[int]) -> list[float]:
        """The probability of each token in the distribution of a row."""

    def rewrite(self, table: Any, tokens: Mapping[int, int]) -> None:
        """Let the host's table of log-probabilities speak of other tokens in these rows."""
