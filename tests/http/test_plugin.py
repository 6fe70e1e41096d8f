"""The middleware by way of vLLM's endpoint plug-ins."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

from tests.http.server import JSON, Client, Server, abstained, choice
from tests.http.test_replies import CHAT, TOLD, written
from value_steer.http import Steering
from value_steer.http.plugin import SteeringEndpoints

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def test_the_package_brings_the_plugin() -> None:
    """Under the name by which ``VLLM_PLUGINS`` lists it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    group = "vllm.endpoint_plugins"
    value = project["entry-points"][group]["value_steer"]

    plugin = EntryPoint("value_steer", value, group).load()()

    assert isinstance(plugin, SteeringEndpoints)
    assert plugin.name == "value_steer"


def test_the_application_gets_the_middleware() -> None:
    """As ``--middleware`` would give it."""
    added: list[object] = []
    plugin = SteeringEndpoints()

    plugin.attach_router(SimpleNamespace(add_middleware=added.append))
    asyncio.run(plugin.init_state(None, None, None))

    assert added == [Steering]


def test_a_second_middleware_is_transparent() -> None:
    """An outcome is asked for once, and the routes are there once."""
    client = Client({"chatcmpl-a": {"0": abstained("e")}})
    server = Server(client, JSON, [written({"id": "chatcmpl-a", "choices": [choice(0)]})])
    server.outermost = Steering(server.outermost)

    reply = asyncio.run(server.ask(CHAT))

    assert reply.json["choices"][0]["value_steer"] == TOLD
    assert len(client.asked("steer_answers")) == 1
