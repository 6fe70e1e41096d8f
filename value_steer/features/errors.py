"""Errors of a feature cache and of its writers."""

from __future__ import annotations

from value_steer.errors import DataError


class FeatureCacheError(DataError):
    """A feature cache, or one file of it, cannot be used."""


class CaptureError(DataError):
    """Hidden states could not be captured, or are not those of the response they belong to."""
