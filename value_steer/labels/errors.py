"""Errors of labelling."""

from __future__ import annotations

from value_steer.errors import DataError, ValueSteerError


class LabelError(DataError):
    """A response cannot be labelled with what is known of it, or a file of labels is damaged."""


class BadRowError(LabelError):
    """One row of a file of data cannot be used; file and row are named."""


class StaleLabelsError(LabelError):
    """Labels of this name were made by other means, or of other responses, than are asked for."""


class UnreadableError(LabelError):
    """More verdicts could not be read than is allowed."""


class JudgeError(ValueSteerError, RuntimeError):
    """The judge's server cannot be reached or refuses to answer."""
