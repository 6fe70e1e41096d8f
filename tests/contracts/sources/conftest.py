"""Fixtures for what is read from a package index."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from value_steer.contracts.sources import index

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def fresh_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No connection of another test, and no proxy between."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    index.shared_session.cache_clear()
    yield
    index.shared_session.cache_clear()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing of this machine's configuration, and no session of an earlier test."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy") or name in _BUNDLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path))
    index.shared_session.cache_clear()
    yield
    index.shared_session.cache_clear()
