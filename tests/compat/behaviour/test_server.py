"""What the suite reads out of the log of its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour.server import Server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("log", "notices"),
    [
        ("INFO all is well\n", []),
        (
            "WARNING the outcome of an answer did not come: passed on without one\n"
            "WARNING an outcome could not be put into an answer: passed on without one\n",
            ["passed on without one"],
        ),
        (
            "WARNING the engine does not say what became of answers\n",
            ["does not say what became of answers"],
        ),
    ],
)
def test_a_server_s_notices_are_read_from_its_log(
    tmp_path: Path, log: str, notices: list[str]
) -> None:
    """A test that lacks an outcome sees no more than that; these say why."""
    server = object.__new__(Server)  # none is booted
    server._log = tmp_path / "server.log"
    server._log.write_text(log, encoding="utf-8")

    assert server.notices() == notices
