"""An operator reads what a server steers by, and changes thresholds while it serves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.http.server import Client, Reply, Server

STATUS, THRESHOLDS = "/v1/value-steer", "/v1/value-steer/thresholds"


def posted(client: Client, body: bytes) -> Reply:
    """The reply to a change of thresholds."""

    async def ask() -> Reply:
        server = Server(client)
        await server.start()
        return await server.ask(THRESHOLDS, body)

    return asyncio.run(ask())


def test_the_routes_are_the_applications_own() -> None:
    """They are added before the first request, so what guards its routes guards them."""
    server = Server(Client())

    asyncio.run(server.start())

    assert {path: methods for path, (_, methods) in server.routes.items()} == {
        STATUS: ["GET"],
        THRESHOLDS: ["POST"],
    }
    assert [scope["type"] for scope in server.seen] == ["lifespan"]


def test_the_status_says_what_runs_and_what_it_did() -> None:
    """Modes, thresholds, evidence, totals."""

    async def ask() -> Any:
        server = Server(Client())
        await server.start()
        return (await server.ask(STATUS, method="GET")).json

    told = asyncio.run(ask())

    assert told["modes"]["abstain"] == {"threshold": 0.5}
    assert told["evidence"]["abstain"]["standing"] == "validated"
    assert told["requests"]["exempt"] == 7
    assert told["counters"]["judged"] == 70


def test_a_threshold_is_changed_in_every_engine() -> None:
    """And the status shows it at once."""
    client = Client()

    async def ask() -> tuple[Reply, Reply]:
        server = Server(client)
        await server.start()
        await server.ask(STATUS, method="GET")
        changed = await server.ask(THRESHOLDS, b'{"abstain": 0.4}')
        return changed, await server.ask(STATUS, method="GET")

    changed, status = asyncio.run(ask())

    assert changed.status == 200
    assert changed.json["modes"]["abstain"] == {"threshold": 0.4}
    assert status.json["modes"]["abstain"] == {"threshold": 0.4}
    assert client.asked("steer_set_thresholds") == [({"abstain": 0.4},)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is no JSON"),
        (b"{", "the body is no JSON"),
        (b"[" * 5000, "the body is no JSON"),
        (b" " * 20_000, "longer than 10000 bytes"),
        (b"{}", 'names no mode; an example is {"abstain": 0.4}'),
        (b"3", "thresholds = 3: must be an object"),
        (b'{"abstain": 2}', "thresholds.abstain = 2: must be"),
        (b'{"abstain": NaN}', "thresholds.abstain = nan: must be"),
        (b'{"abstian": 0.5}', "thresholds.abstian: unknown key; did you mean abstain?"),
        (b'{"vfd": 0.5}', "thresholds.vfd: this engine does not have that mode enabled"),
    ],
)
def test_a_bad_threshold_changes_nothing(body: bytes, message: str) -> None:
    """The reply says what, where, and what to do."""
    client = Client()
    client.status["modes"] = {"abstain": {"threshold": 0.5}}

    reply = posted(client, body)

    assert reply.status == 400
    assert message in reply.json["error"]["message"]
    assert client.asked("steer_set_thresholds") == []


def test_what_the_engine_refuses_is_said() -> None:
    """It has the last word."""
    client = Client()

    async def before(method: str) -> None:
        if method == "steer_set_thresholds":
            raise RuntimeError(method)

    client.before = before
    reply = posted(client, b'{"abstain": 0.4}')

    assert reply.status == 500
    assert "thresholds: steer_set_thresholds" in reply.json["error"]["message"]


def test_an_engine_that_cannot_be_asked_is_unavailable() -> None:
    """With the cause."""
    client = Client()

    async def before(method: str) -> None:
        raise RuntimeError(method)

    client.before = before
    reply = posted(client, b'{"abstain": 0.4}')

    assert reply.status == 503
    assert "is its worker ours? steer_" in reply.json["error"]["message"]


def test_a_server_without_an_engine_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """It serves as if the middleware were not there."""
    server = Server(None, parts=[b"{}"])

    async def ask() -> Reply:
        await server.start()
        return await server.ask("/v1/completions")

    assert asyncio.run(ask()).body == b"{}"
    assert server.routes == {}
    assert "finds no engine behind this server" in caplog.text
