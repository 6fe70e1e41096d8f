"""Requests as the engine knows them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from value_steer.engine.admission import (
    AbstainDefaults,
    Admission,
    FilterDefaults,
    HeadDefaults,
)
from value_steer.engine.forcing.scripts import Reasoning, Scripts
from value_steer.engine.live_request import LiveRequest
from value_steer.value_probe import HeadCard

if TYPE_CHECKING:
    from value_steer.threshold import Threshold

STOP = 1
PROMPT = 3
OPENS, CLOSES = 2, 3
"""Tokens that open and close reasoning."""


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


def head_of(index: int, threshold: float) -> HeadDefaults:
    """Of one of several heads of a mode."""
    return replace(defaults(threshold), index=index)


def abstaining(
    threshold: Threshold | None, min_tokens: int = 1, filtering: FilterDefaults | None = None
) -> Admission:
    """How requests enter an engine that abstains, if it has a threshold."""
    if threshold is None:
        return Admission(None, filtering)
    return Admission(AbstainDefaults(defaults(threshold), min_tokens), filtering)


TWO_MODES = Admission(  # of an engine with both modes, and several heads of each
    AbstainDefaults(
        head_of(0, 0.5),
        1,
        {"code": head_of(1, 0.25)},
        scripts=Scripts(Reasoning(OPENS, CLOSES, (CLOSES,))),
    ),
    FilterDefaults(
        head_of(0, 0.75), 4, {"toxic": head_of(1, 0.875), "code": head_of(2, 0.625)}, most=8
    ),
)
