"""Where value-steer's log records go."""

from __future__ import annotations

import logging


def adopt_logging() -> None:
    """Send value-steer's log records where vLLM's own go, unless the operator set that up."""
    ours, theirs = logging.getLogger("value_steer"), logging.getLogger("vllm")
    if not ours.handlers:
        for handler in theirs.handlers:
            ours.addHandler(handler)
        ours.setLevel(theirs.getEffectiveLevel())
        ours.propagate = not theirs.handlers
