"""Responses in words."""

from __future__ import annotations

from value_steer.features.records import Response, ResponseKey


def said(text: str, reference: str | None = None, *, number: int = 0) -> Response:
    """A response of this text."""
    return Response(ResponseKey(f"p{number}"), "question", text, reference=reference)
