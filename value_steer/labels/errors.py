"""What can be wrong with labelling."""

from __future__ import annotations

from value_steer.errors import DataError, ValueSteerError


class LabelError(DataError):
    """A response cannot be labelled with what is known of it, or a file of labels is damaged."""


class BadRowError(LabelError):
    """One row of a file of data cannot be used; file and row are named."""


class JudgeError(ValueSteerError, RuntimeError):
    """The judge's server cannot be reached or refuses to answer."""
