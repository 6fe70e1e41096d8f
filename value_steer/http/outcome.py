"""The outcome of an answer, as its caller sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "value_steer:"
_TOLD = (
    "value",
    "lowest",
    "threshold",
    "action",
    "interventions",
    "no_acceptable",
    "unscored",
    "p_undesirable",
    "vfd_threshold",
)
_IF_ASKED = ("values", "undesirable")


def described(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """The object that an answer carries as ``value_steer``.

    Args:
        outcome: As a worker's ``steer_answers`` gives it.
    """
    told: dict[str, Any] = {"outcome": word(outcome), "stopped_at": outcome["response_tokens"]}
    # A test forces an end with a threshold that is infinite, which JSON cannot say.
    told |= {key: _finite(outcome[key]) for key in _TOLD}
    if outcome["refused"] is not None:
        told["refusal"] = outcome["refused"]
    told |= {key: list(outcome[key]) for key in _IF_ASKED if outcome[key] is not None}
    return told


def word(outcome: Mapping[str, Any]) -> str:
    """One of abstained, thinking_ended, no_acceptable, refused, control, steered and exempt."""
    if outcome["refused"] is not None:
        return "refused"
    if outcome["control"]:
        return "control"
    ending: str | None = outcome["ending"]
    if ending:
        return ending.removeprefix(_PREFIX)
    if outcome["action"] is not None:  # cut short before its stop token, or gone on
        return "abstained" if outcome["abstained"] else "thinking_ended"
    left_alone = outcome["threshold"] is None and outcome["vfd_threshold"] is None
    return "exempt" if left_alone else "steered"


def _finite(value: Any) -> Any:  # noqa: ANN401  (any plain value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
