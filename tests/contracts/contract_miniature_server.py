"""The server of the miniature, and what searches beams in it and behind it."""

from __future__ import annotations

_SERVING = """
from vllm.entrypoints.generate.beam_search.online import BeamSearchOnlineMixin

class {name}(BeamSearchOnlineMixin):
    def __init__(self, engine_client):
        self.model_config = engine_client.model_config
"""
_ROUTER = """
@router.post({route!r})
def {name}(request, raw_request):
    return handler(raw_request)(request)
"""

SERVER = {
    "vllm/entrypoints/generate/beam_search/offline.py": """
class BeamSearchOfflineMixin:
    def beam_search(self, prompts, params):
        return []
""",
    "vllm/entrypoints/generate/beam_search/online.py": """
class BeamSearchOnlineMixin:
    def beam_search(self, prompt, request_id, params):
        yield prompt
""",
    "vllm/entrypoints/llm.py": """
from vllm.entrypoints.generate.beam_search.offline import BeamSearchOfflineMixin

class LLM(BeamSearchOfflineMixin):
    def __init__(self, model):
        self.model_config = self.llm_engine.model_config
""",
    "vllm/entrypoints/openai/completion/serving.py": _SERVING.format(
        name="OpenAIServingCompletion"
    ),
    "vllm/entrypoints/openai/chat_completion/serving.py": _SERVING.format(name="OpenAIServingChat"),
    "vllm/entrypoints/openai/api_server.py": """
def build_app(args):
    app = FastAPI()
    for middleware in args.middleware:
        imported = load(middleware)
        app.add_middleware(imported)
    return app

def init_app_state(engine_client, state, args):
    state.engine_client = engine_client
""",
    "vllm/plugins/endpoint_plugins/interface.py": """
def attach_endpoint_plugins(app, supported_tasks):
    for plugin in load_endpoint_plugins(supported_tasks):
        plugin.attach_router(app)

async def init_endpoint_plugins_state(engine_client, state, args):
    for plugin in state.endpoint_plugins:
        await plugin.init_state(engine_client, state, args)
""",
    "vllm/plugins/__init__.py": """
ENDPOINT_PLUGINS_GROUP = "vllm.endpoint_plugins"

def load_endpoint_plugins(supported_tasks):
    for plugin in load_plugins_by_group(ENDPOINT_PLUGINS_GROUP):
        if set(plugin.required_tasks) & set(supported_tasks):
            yield plugin
""",
    "vllm/entrypoints/serve/instrumentator/metrics.py": """
def attach_router(app):
    registry = get_prometheus_registry()
    app.routes.append(Mount("/metrics", make_asgi_app(registry=registry)))
""",
    **{
        f"vllm/entrypoints/{folder}/api_router.py": _ROUTER.format(route=route, name=name)
        for folder, route, name in (
            ("openai/chat_completion", "/v1/chat/completions", "create_chat_completion"),
            ("openai/completion", "/v1/completions", "create_completion"),
            ("anthropic", "/v1/messages", "create_messages"),
            ("openai/responses", "/v1/responses", "create_responses"),
        )
    },
    "vllm/v1/engine/async_llm.py": """
class AsyncLLM:
    def __init__(self, vllm_config):
        self.engine_core = EngineCoreClient.make_async_mp_client(vllm_config)

    async def collective_rpc(self, method, timeout=None, args=(), kwargs=None):
        return await self.engine_core.collective_rpc_async(method, timeout, args, kwargs)
""",
    "vllm/v1/engine/core_client.py": """
class MPClient:
    def __init__(self, vllm_config):
        self.core_engines = [identity(rank) for rank in ranks(vllm_config)]

class AsyncMPClient(MPClient):
    async def _call_utility_async(self, method, *args, engine):
        return self.send(method, args, engine)
""",
}
