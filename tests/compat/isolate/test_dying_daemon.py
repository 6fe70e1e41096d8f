"""A Docker daemon that dies, or is none, at any question: a venv, or one clear error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from compat.errors import InfraError
from compat.isolate import choose
from compat.releases import policy
from tests.contracts.hostile_server import Reply, answering

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = {"Version": "28.0", "ApiVersion": "1.44", "Runtimes": {"nvidia": {}}}


def daemon(good: int, then: Reply) -> Callable[[str, str], Reply]:
    """A daemon that answers a few questions, and then otherwise."""
    asked: list[str] = []

    def reply(path: str, _: str) -> Reply:
        asked.append(path)
        if len(asked) > good:
            return then
        body = json.dumps(GOOD).encode()
        return Reply([body], headers={"Content-Length": str(len(body))})

    return reply


ODD = {
    "an error": Reply([b'{"message": "shutting down"}'], 500),
    "a page": Reply([b"<html>no docker here</html>"]),
    "a list": Reply([b"[]"]),
    "nothing": Reply([b""]),
    "an empty object": Reply([b"{}"]),
    "half an answer": Reply([b'{"Vers'], headers={"Content-Length": "500"}),
    "deep": Reply([b"[" * 100_000]),
}


@pytest.mark.parametrize("good", range(4))
@pytest.mark.parametrize("then", ODD.values(), ids=ODD)
def test_a_daemon_that_dies(good: int, then: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for containers, it is an error of this machine; else a venv is taken."""
    rules = policy.load()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for wanted in ("auto", "container"):
        with answering(daemon(good, then)) as address:
            monkeypatch.setenv("DOCKER_HOST", address.replace("http://someone:secret@", "tcp://"))
            if wanted == "auto":
                assert choose("auto", rules, gpu=True).isolation.kind == (
                    "venv" if good < 3 else "container"
                )
                continue
            if good < 3:
                with pytest.raises(InfraError, match="no Docker daemon answers") as error:
                    choose("container", rules, gpu=True)
                assert len(str(error.value)) < 500
            else:
                kind = choose("container", rules, gpu=True).isolation.kind
                assert kind == "container"
