"""Fixtures for what is read from a package index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from value_steer.contracts.sources import index

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fresh_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No connection of another test, and no proxy between."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    index.shared_session.cache_clear()
    yield
    index.shared_session.cache_clear()
