"""A worker's report of a step to the scheduler, beside the tokens.

It travels as an attribute of the host's own output, so it arrives with the tokens that it speaks of
and a step that the scheduler drops is dropped with all that was said of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from value_steer.request_settings import AbstainAction

if TYPE_CHECKING:
    import numpy as np

_NAME = "value_steer"


class Ending(str, Enum):
    """Why value-steer ended a request; what a client reads as its ``stop_reason``."""

    ABSTAINED = "value_steer:abstained"
    NO_ACCEPTABLE = "value_steer:no_acceptable"
    REFUSED = "value_steer:refused"


@dataclass(frozen=True, slots=True)
class Admitted:
    """How a request is steered.

    Attributes:
        threshold: P(good) below which it ends; ``None`` if abstention leaves it alone.
        vfd_threshold: P(undesirable) from which on a token is unacceptable; ``None`` if value
            filtering leaves it alone.
        refusal: Why its own settings were refused, which ends it; else ``None``.
        unendable: Whether abstention cannot end it because it has no stop token.
        keeps_values: Whether it asked for the value of every token.
        action: What happens once abstention fires.
        control: Whether it is judged and not acted on.
        head: Which of abstention's heads scores it.
        vfd_head: Which of value filtering's heads does.
    """

    threshold: float | None = None
    vfd_threshold: float | None = None
    refusal: str | None = None
    unendable: bool = False
    keeps_values: bool = False
    action: AbstainAction = AbstainAction.END
    control: bool = False
    head: int = 0
    vfd_head: int = 0

    @property
    def remembers_values(self) -> bool:
        """Whether every value of it is kept until it has ended."""
        return self.keeps_values or self.control


@dataclass(frozen=True, slots=True)
class Span:
    """Abstention's decision about a request that a step gives several tokens.

    Attributes:
        position: Tokens of the sequence behind which the first of them comes.
        p_good: One per token, fp32, of the sequence before it; NaN where it was not judged.
        ends: Index of the token that ends the request; ``None``: none does.
    """

    position: int
    p_good: np.ndarray
    ends: int | None


@dataclass(slots=True)
class StepReport:
    """The events of one step, in the order of the rows of its output where that matters.

    Attributes:
        admitted: Requests that are sampled for the first time.
        repeated: Requests that got no token for the position that they were scheduled for.
        p_good: ``[rows]`` fp32, NaN where a row was not judged; ``None``: none was.
        positions: ``[rows]`` int64, tokens of the sequences that were judged; with ``p_good``.
        spans: The same of requests that a step may give several tokens, in place of ``p_good``.
        p_undesirable: ``[rows]`` fp32 of the tokens given out, NaN where none was judged.
        endings: Requests that the token given out ends.
        begins: Requests that abstention has fired for and that go on with something else than what
            is sampled, with their response tokens before that.
        interventions: Requests whose token given out is not the one that the model drew.
        no_acceptable: Requests for whose token no candidate was acceptable.
        unscored: Requests that got a token without a judgement, after an error.
        errors: Decisions that failed and were passed over.
        seconds: Time that the decisions took.
    """

    admitted: dict[str, Admitted] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    p_good: np.ndarray | None = None
    positions: np.ndarray | None = None
    spans: dict[str, Span] = field(default_factory=dict)
    p_undesirable: np.ndarray | None = None
    endings: dict[str, Ending] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    interventions: list[str] = field(default_factory=list)
    no_acceptable: list[str] = field(default_factory=list)
    unscored: list[str] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0


def attach(output: Any, report: StepReport) -> None:
    """Let a host's output of a step carry a report; it survives pickling."""
    setattr(output, _NAME, report)


def report_of(output: Any) -> StepReport | None:
    """The report beside an output; ``None`` for a step that sampled nothing."""
    report: StepReport | None = getattr(output, _NAME, None)
    return report
