"""Errors of a demonstration."""

from __future__ import annotations

from value_steer.errors import ValueSteerError


class DemoError(ValueSteerError):
    """The demonstration cannot be run here, or its engine failed."""
