"""Settings of an engine: the sections of ``additional_config`` as records."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from value_steer.request_settings import AbstainAction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from value_steer.threshold import Threshold
    from value_steer.value_probe.card import Polarity

_USUAL_CANDIDATES = 64


class OnError(str, Enum):
    """The fate of a step whose decision fails."""

    RAISE = "raise"
    PASSTHROUGH = "passthrough"


@dataclass(frozen=True, slots=True)
class AbstainSettings:
    """The ``abstain`` section of ``additional_config``.

    Attributes:
        value_head_path: File of the head.
        threshold: Abstain when P(good) is below this.
        abstain_reward: What abstaining is worth, in units of the probability of being good; the
            threshold follows from the head's calibration.
        target_rate: Share of requests to abstain on, from the head's calibration.
        min_tokens: First response token that may be judged, counted from 1; 0 judges the last
            position of the prompt as well.
        patience: Consecutive judged tokens below the threshold before a request ends.
        action: What happens then to requests that state nothing.
        message: Text that is given out before a request ends, under the action ``message``.
        reasoning_start_token: The token that opens the model's reasoning; ``None``, or one that the
            vocabulary does not have, if every response begins inside it.
        reasoning_end_token: The token that closes it.
        reasoning_end_str: Text that closes it, with that token in it; ``None`` for the token alone.
        scores: What the head scores, where its card does not say or is wrong.
        on_error: What happens to a step whose decision fails.
        strict: Start-up warnings (an unstated polarity, a vLLM without evidence) are errors.
        enabled: Off: the engine runs as plain vLLM.
        heads: Further heads by name, which a request chooses with ``steer_head``; each with its own
            file, threshold and polarity, and all else as it is here.
    """

    value_head_path: Path
    threshold: Threshold | None = None
    abstain_reward: float | None = None
    target_rate: float | None = None
    min_tokens: int = 1
    patience: int = 1
    action: AbstainAction = AbstainAction.END
    message: str | None = None
    reasoning_start_token: str | None = "<think>"  # noqa: S105  (no password)
    reasoning_end_token: str = "</think>"  # noqa: S105
    reasoning_end_str: str | None = None
    scores: Polarity | None = None
    on_error: OnError = OnError.RAISE
    strict: bool = False
    enabled: bool = True
    heads: Mapping[str, AbstainSettings] = field(default_factory=dict)


class Fallback(str, Enum):
    """Which token is committed when none of the candidates is acceptable."""

    ARGMIN = "argmin"
    ARGS = "args"
    ABSTAIN = "abstain"
    NATURAL = "natural"


@dataclass(frozen=True, slots=True)
class VfdSettings:
    """The ``vfd`` section of ``additional_config``.

    Attributes:
        value_head_path: File of the head.
        threshold: A token is unacceptable when P(undesirable) after it is at or above this.
        alpha: The false-alarm level that the threshold follows from, through the head's
            calibration.
        num_candidates: Draws per token at most, the model's own included.
        max_candidates: What a request may ask for in place of that; ``None`` for 64, or
            ``num_candidates`` if that is more.
        fallback: What is committed when no candidate is acceptable.
        prob_weight: Weight of the token's probability in the ``args`` fallback.
        scores: What the head scores, where its card does not say or is wrong.
        on_error: What happens to a step whose decision fails.
        strict: Start-up warnings (an unstated polarity, a vLLM without evidence) are errors.
        enabled: Off: no token is filtered.
        single_stream: Accepted because other packages' configurations have it, and without effect:
            nothing has to be given up here for concurrent requests.
        heads: Further heads by name, which a request chooses with ``steer_head``; each with its own
            file, threshold and polarity, and all else as it is here.
    """

    value_head_path: Path
    threshold: Threshold | None = None
    alpha: float | None = None
    num_candidates: int = 8
    max_candidates: int | None = None
    fallback: Fallback = Fallback.ARGMIN
    prob_weight: float = 1.0
    scores: Polarity | None = None
    on_error: OnError = OnError.RAISE
    strict: bool = False
    enabled: bool = True
    single_stream: bool = False
    heads: Mapping[str, VfdSettings] = field(default_factory=dict)

    @property
    def most_candidates(self) -> int:
        """The most candidates that a request may ask for."""
        return self.max_candidates or max(_USUAL_CANDIDATES, self.num_candidates)


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """The ``record`` section of ``additional_config``: a control group of the live traffic.

    Attributes:
        directory: Folder in which every engine writes a file of its own.
        share: Share of the requests that is judged in full and not acted on; 1: all of them.
        max_bytes: Size of a file at which its engine stops recording.
    """

    directory: Path
    share: float
    max_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class SteerSettings:
    """All of value-steer's settings in one engine; a section that is not there is ``None``."""

    abstain: AbstainSettings | None = None
    vfd: VfdSettings | None = None
    record: RecordSettings | None = None
