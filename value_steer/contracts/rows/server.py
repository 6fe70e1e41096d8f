"""The HTTP side's needs of vLLM's server: its engine client, and the place of its routes."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Accepts, Assigns, Contains, Exists, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset(Mode))
_API = partial(_ROW, path="vllm/entrypoints/openai/api_server.py")
_CLIENT = partial(_ROW, path="vllm/v1/engine/async_llm.py")
_CORE = partial(_ROW, path="vllm/v1/engine/core_client.py")
_PLUGIN = partial(
    _ROW, used_by="value_steer.http.plugin.SteeringEndpoints.attach_router", since="0.26"
)

_ENGINES = "value_steer.http.engines.Engines"
_ROUTES = "value_steer.http.surfaces.surface_of"


def _route(name: str, path: str, function: str, route: str) -> Surface:
    """An API whose answers carry outcomes."""
    return _ROW(
        id=f"server.routes_{name}",
        path=path,
        symbol=function,
        need=Contains((repr(route),)),
        used_by=_ROUTES,
        why="By its path an API is known, or its answers would carry no outcome.",
    )


_CHAT, _COMPLETIONS, _MESSAGES, _RESPONSES = (
    f"vllm/entrypoints/{folder}/api_router.py"
    for folder in (
        "openai/chat_completion",
        "openai/completion",
        "anthropic",
        "openai/responses",
    )
)

ROWS: tuple[Surface, ...] = (
    _API(
        id="server.adds_middleware",
        symbol="build_app",
        need=Contains(
            (
                "app.add_middleware(imported)",
                "init_entrypoints_middleware(args, app, supported_tasks)",
            )
        ),
        used_by="value_steer.http.middleware.Steering.__init__",
        why="A class that --middleware names is given the application and nothing else.",
    ),
    _API(
        id="server.engine_client",
        symbol="init_app_state",
        need=Contains(("state.engine_client = engine_client",)),
        used_by="value_steer.http.middleware._look",
        why="The middleware asks the engine through it.",
    ),
    _CLIENT(
        id="engine_client.collective_rpc",
        symbol="AsyncLLM.collective_rpc",
        need=Accepts(("method", "args"), awaited=True),
        used_by=f"{_ENGINES}.tell",
        why="The workers are asked for outcomes and counters by it.",
    ),
    _CLIENT(
        id="engine_client.engine_core",
        symbol="AsyncLLM",
        need=Assigns(("engine_core",)),
        used_by=f"{_ENGINES}.__init__",
        why="Several engines are asked through it, one by one.",
    ),
    _CORE(
        id="engine_core_client.core_engines",
        symbol="MPClient",
        need=Assigns(("core_engines",)),
        used_by=f"{_ENGINES}._ranks",
        why="It says which engines there are.",
    ),
    _CORE(
        id="engine_core_client.call_one",
        symbol="AsyncMPClient._call_utility_async",
        need=Accepts(("method", "engine"), awaited=True),
        used_by=f"{_ENGINES}.ask",
        why="Of several engines, the public call returns what the first one says.",
    ),
    _ROW(
        id="engine_core.collective_rpc",
        path="vllm/v1/engine/core.py",
        symbol="EngineCore.collective_rpc",
        need=Parameters(("method", "timeout", "args", "kwargs")),
        used_by=f"{_ENGINES}.ask",
        why="One engine is asked by it, its arguments by position.",
    ),
    _ROW(
        id="server.routes_metrics",
        path="vllm/entrypoints/serve/instrumentator/metrics.py",
        symbol="attach_router",
        need=Contains(("Mount('/metrics', make_asgi_app(registry=registry))",)),
        used_by="value_steer.http.scrape.Scrape.__call__",
        why="What the engines count is added to the answers there.",
    ),
    _PLUGIN(
        id="server.endpoint_plugins",
        path="vllm/plugins/__init__.py",
        symbol="load_endpoint_plugins",
        need=Contains(("load_plugins_by_group(ENDPOINT_PLUGINS_GROUP)",)),
        why="A server whose VLLM_PLUGINS names it finds the endpoint plug-in.",
    ),
    _PLUGIN(
        id="server.endpoint_plugins_group",
        path="vllm/plugins/__init__.py",
        symbol="ENDPOINT_PLUGINS_GROUP",
        need=Exists(),
        why="The entry point is in the group of that name.",
    ),
    _PLUGIN(
        id="server.attaches_endpoint_plugins",
        path="vllm/plugins/endpoint_plugins/interface.py",
        symbol="attach_endpoint_plugins",
        since="0.29",  # in the three releases before, these two were the server's own
        need=Contains(("plugin.attach_router(app)",)),
        why="It is given the application before that answers.",
    ),
    _PLUGIN(
        id="server.begins_endpoint_plugins",
        path="vllm/plugins/endpoint_plugins/interface.py",
        symbol="init_endpoint_plugins_state",
        since="0.29",
        need=Contains(("plugin.init_state(engine_client, state, args)",)),
        why="It is called with these; another number of them would keep the server from starting.",
    ),
    _route("chat", _CHAT, "create_chat_completion", "/v1/chat/completions"),
    _route("completions", _COMPLETIONS, "create_completion", "/v1/completions"),
    _route("messages", _MESSAGES, "create_messages", "/v1/messages"),
    _route("responses", _RESPONSES, "create_responses", "/v1/responses"),
)
