"""The records of what an engine has done."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

BINS = 20
"""Of the histograms of values."""

_CHILD = re.compile(r"(?:(\d+)_)?(.+?)(?:-[0-9a-f]{8})?")
"""The engine's id of a request: ``3_cmpl-abc-1f2e3d4c`` is the fourth answer to ``cmpl-abc``."""


@dataclass(slots=True)
class Counters:
    """Totals of an engine since it started.

    Attributes:
        judged: Hidden states judged by abstention.
        abstained: Requests ended by a head.
        thinking_ended: Requests whose reasoning a head has closed, and which went on.
        exhausted: Those of them that ended because no candidate was acceptable.
        refused: Requests ended because their own settings were wrong.
        unendable: Requests without a stop token, which abstention cannot end and leaves alone.
        filtered: Tokens given out after value filtering judged them.
        repeated: Steps in which a request took its last position again.
        interventions: Tokens given out in place of the one that the model drew.
        no_acceptable: Tokens for which no candidate was acceptable.
        unscored: Tokens given out without a judgement, after an error.
        swallowed_errors: Decisions that failed and were passed over, under
            ``on_error: passthrough``, and failures to record an answer.
        finished: Requests that were steered or exempt and have ended, in whichever way.
        exempt: Those of them that no mode was to act on.
        controls: Those of them that were judged and not acted on, being in the control group.
        recorded: Those of the controls whose answers were recorded.
        steps: Batches that were sampled.
        step_seconds: Time that value-steer took in them, the host's own sampling left out.
        p_good: How often P(good) lay in each twentieth of [0, 1].
        p_undesirable: How often P(undesirable) of a token given out did.
    """

    judged: int = 0
    abstained: int = 0
    thinking_ended: int = 0
    exhausted: int = 0
    refused: int = 0
    unendable: int = 0
    filtered: int = 0
    repeated: int = 0
    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    swallowed_errors: int = 0
    finished: int = 0
    exempt: int = 0
    controls: int = 0
    recorded: int = 0
    steps: int = 0
    step_seconds: float = 0.0
    p_good: list[int] = field(default_factory=lambda: [0] * BINS)
    p_undesirable: list[int] = field(default_factory=lambda: [0] * BINS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one finished request.

    Attributes:
        request_id: The engine's id of the request.
        arrived: When the process that talks to the caller got it, in seconds since the epoch.
        abstained: Whether a head ended it.
        ending: Why value-steer ended it, as a client reads it; ``None`` if it ended otherwise.
        refused: Why its own settings were refused, which ended it; else ``None``.
        response_tokens: Response tokens kept when a head stopped it (what it was made to say, and
            the stop token, not counted), or ``None`` if none did.
        value: P(good) that ended it, or the last one seen; ``None`` if it was never judged.
        threshold: The threshold that applied, ``None`` if abstention left it alone. That of a
            control would have.
        interventions: Tokens given out in place of the one that the model drew.
        no_acceptable: Tokens for which no candidate was acceptable.
        unscored: Tokens given out without a judgement, after an error.
        p_undesirable: Value filtering's head after the last token given out, ``None`` if it never
            judged the request.
        vfd_threshold: Value filtering's threshold, ``None`` if it left the request alone.
        lowest: The lowest P(good) seen; ``None`` if it was never judged.
        judged: Hidden states of it that abstention judged.
        action: What was done when a head stopped it: ``end``, ``end_thinking`` (it went on) or
            ``message``; ``None`` if none did.
        values: P(good) of every judged token in order, if the request asked for that.
        undesirable: P(undesirable) of every token given out in order, if it asked for that.
        control: Whether it was judged and not acted on, being in the control group.
    """

    request_id: str
    arrived: float
    abstained: bool
    ending: str | None
    refused: str | None
    response_tokens: int | None
    value: float | None
    threshold: float | None
    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    p_undesirable: float | None = None
    vfd_threshold: float | None = None
    lowest: float | None = None
    judged: int = 0
    action: str | None = None
    values: tuple[float, ...] | None = None
    undesirable: tuple[float, ...] | None = None
    control: bool = False

    @property
    def steered(self) -> bool:
        """Whether any mode was to act on it."""
        if self.control:
            return False
        return self.threshold is not None or self.vfd_threshold is not None or bool(self.ending)


def callers_id(request_id: str) -> tuple[str, int]:
    """The id that a caller knows a request by, and which of its answers this is, from 0."""
    match = _CHILD.fullmatch(request_id)
    if match is None:
        return request_id, 0
    return match[2], int(match[1] or 0)
