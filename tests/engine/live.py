"""Requests as the engine knows them."""

from __future__ import annotations

from typing import Any

from value_steer.engine.live_request import LiveRequest

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
