"""Where a run took place is part of its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.cell import recording

if TYPE_CHECKING:
    import pytest

_ACTIONS = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "owner/name",
    "GITHUB_RUN_ID": "7",
    "GITHUB_RUN_ATTEMPT": "2",
}


def test_a_run_on_a_desk_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of Actions a run says so, and claims no address."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    assert (recording.provenance().kind, recording.provenance().run_url) == ("local", None)


def test_a_run_on_actions_names_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Actions a row leads to the very attempt that produced it."""
    for name, value in _ACTIONS.items():
        monkeypatch.setenv(name, value)

    found = recording.provenance()

    assert found.kind == "ci"
    assert found.run_url == "https://github.example/owner/name/actions/runs/7/attempts/2"
