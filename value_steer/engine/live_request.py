"""One request of the engine, as long as it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from value_steer.engine.filtering.search import Filtered
from value_steer.request_settings import AbstainAction


@dataclass(slots=True)
class LiveRequest:
    """One request of the engine.

    Attributes:
        prompt_length: Prompt tokens.
        threshold: P(good) below which the request ends; ``None`` if it is not steered.
        first_judged: Sequence length at which the first judged hidden state exists.
        first_endable: Sequence length from which on a stop token ends the request.
        stop_token: A token id that ends the request in the scheduler.
        constrained: Whether a grammar decides which tokens are possible.
        wants_logprobs: Whether the caller asked for the log-probabilities of its tokens.
        slot: Index of the request in buffers that outlive a batch.
        vfd_threshold: P(undesirable) from which on a token is unacceptable; ``None`` if the
            request is not filtered.
        candidates: Draws per token at most, the model's own included.
        greedy: Whether the request takes the most probable token.
        unendable: Whether abstention cannot end it because it has no stop token.
        keeps_values: Whether it asked for the value of every token.
        refuses_next: Whether the next token that the model draws is refused, whatever the head
            says: a request's own test.
        filtered: Where value filtering stands with it.
        action: What happens once abstention fires.
        reasoning_marks: Where its prompt opens and closes a reasoning section last; -1: nowhere.
        followed: Whether its slot of :class:`value_steer.engine.forcing.forced.Forcing` is its own
            already.
        head: Which of the engine's heads scores it for abstention.
        vfd_head: Which of them does for value filtering.
        refusal: Why the request's own settings were refused, else ``None``.
        control: Whether it is judged and not acted on, whatever its thresholds.
        length: Tokens in the sequence that the current step completes.
        drafts: Tokens behind those, which the step verifies.
        complete: Whether the current step reaches the end of what is known of the sequence; a
            row that does not is a partial prefill, whose sampled token the host discards.
    """

    prompt_length: int
    threshold: float | None
    first_judged: int
    first_endable: int
    stop_token: int
    constrained: bool
    wants_logprobs: bool
    slot: int
    vfd_threshold: float | None = None
    candidates: int = 1
    greedy: bool = False
    unendable: bool = False
    keeps_values: bool = False
    refuses_next: bool = False
    filtered: Filtered = field(default_factory=Filtered)
    action: AbstainAction = AbstainAction.END
    reasoning_marks: tuple[int, int] = (-1, -1)
    followed: bool = False
    head: int = 0
    vfd_head: int = 0
    refusal: str | None = None
    control: bool = False
    length: int = 0
    drafts: int = 0
    complete: bool = False

    @property
    def fires_below(self) -> float:
        """P(good) below which abstention fires; nothing is below that of a control."""
        return -math.inf if self.control else self.threshold or 0.0

    @property
    def refuses_from(self) -> float:
        """P(undesirable) from which on a token is refused; nothing reaches that of a control."""
        return math.inf if self.control else self.vfd_threshold or 0.0

    def endable_at(self, length: int) -> bool:
        """Whether value filtering can end the request at this length of its sequence."""
        return self.stop_token >= 0 and not self.constrained and length >= self.first_endable

    @property
    def judged(self) -> bool:
        """Whether abstention judges the current step's hidden state of this request.

        While a token is held, a grammar's mask does not know it, so it cannot say whether the
        request may end after it; the step that comes then can.
        """
        if self.constrained and self.vfd_threshold is not None and self.filtered.holds:
            return False
        search = self.filtered.search
        if self.filtered.decided and (search is None or search.ends):
            return False  # it is ended already, with the token that is held
        return self.judges and self.length >= self.first_judged

    @property
    def judges(self) -> bool:
        """Whether abstention may judge what the current step computes of this request."""
        return self.complete and self.threshold is not None
