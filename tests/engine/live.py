"""Requests as the engine knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from value_steer.engine.admission import (
    AbstainDefaults,
    Admission,
    FilterDefaults,
    HeadDefaults,
)
from value_steer.engine.live_request import LiveRequest
from value_steer.value_probe import HeadCard

if TYPE_CHECKING:
    from value_steer.threshold import Threshold

STOP = 1
PROMPT = 3


def live(**changes: Any) -> LiveRequest:
    """A filtered request of three prompt and two response tokens, with some things changed."""
    keys: dict[str, Any] = {
        "prompt_length": PROMPT,
        "threshold": None,
        "first_judged": PROMPT + 1,
        "first_endable": PROMPT + 2,
        "stop_token": STOP,
        "constrained": False,
        "wants_logprobs": False,
        "slot": 0,
        "vfd_threshold": 0.5,
        "candidates": 4,
        "length": PROMPT + 2,
        "complete": True,
    }
    return LiveRequest(**{**keys, **changes})


def defaults(threshold: Threshold) -> HeadDefaults:
    """Of the first head of a mode."""
    return HeadDefaults(0, threshold, HeadCard(hidden_size=4))


def abstaining(
    threshold: Threshold | None, min_tokens: int = 1, filtering: FilterDefaults | None = None
) -> Admission:
    """How requests enter an engine that abstains, if it has a threshold."""
    if threshold is None:
        return Admission(None, filtering)
    return Admission(AbstainDefaults(defaults(threshold), min_tokens), filtering)
