"""Why a head cannot be trained."""

from __future__ import annotations

from value_steer.errors import ValueSteerError


class TrainingError(ValueSteerError):
    """A batch, a backbone or a state file cannot be trained with, or the loss is not a number."""
