"""Where requests come in: what is replaced there, so that what cannot be steered is refused."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Accepts, Assigns, Contains, DefinedBy
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset(Mode))
_OFFLINE = partial(_ROW, path="vllm/entrypoints/llm.py")
_PROCESSOR = partial(_ROW, path="vllm/v1/engine/input_processor.py")

_BEAMS = "value_steer.engine.frontend._beam_searches"
_REFUSES = "value_steer.engine.frontend._refusing_beams"
_SESSIONS = "value_steer.engine.frontend._checking_sessions"
_SEARCH = "vllm/entrypoints/generate/beam_search"


def _online(name: str, path: str, serving: str) -> tuple[Surface, ...]:
    """The rows of beam search in one of a server's APIs."""
    row = partial(_ROW, path=path)
    return (
        row(
            id=f"beam_search.of_{name}",
            symbol=f"{serving}.beam_search",
            need=DefinedBy(
                (
                    (f"{_SEARCH}/online.py", "BeamSearchOnlineMixin"),
                    ("vllm/entrypoints/openai/engine/serving.py", "OpenAIServing"),
                )
            ),
            used_by=_BEAMS,
            why="It is replaced in that class, or beams would be served unsteered.",
        ),
        row(
            id=f"beam_search.model_of_{name}",
            symbol=serving,
            need=Assigns(("model_config",)),
            used_by=_REFUSES,
            why="By its configuration an engine that steers is told from others.",
        ),
    )


ROWS: tuple[Surface, ...] = (
    _OFFLINE(
        id="beam_search.offline",
        symbol="LLM.beam_search",
        need=DefinedBy(
            (
                (f"{_SEARCH}/offline.py", "BeamSearchOfflineMixin"),
                ("vllm/entrypoints/llm.py", "LLM"),
            )
        ),
        used_by=_BEAMS,
        why="It is replaced in that class, or beams would be searched unsteered.",
    ),
    _OFFLINE(
        id="beam_search.model_offline",
        symbol="LLM",
        need=Assigns(("model_config",)),
        used_by=_REFUSES,
        why="By its configuration an engine that steers is told from others.",
    ),
    *_online(
        "completions",
        "vllm/entrypoints/openai/completion/serving.py",
        "OpenAIServingCompletion",
    ),
    *_online("chat", "vllm/entrypoints/openai/chat_completion/serving.py", "OpenAIServingChat"),
    _PROCESSOR(
        id="input_processor.process_inputs",
        symbol="InputProcessor.process_inputs",
        need=Accepts(("request_id", "prompt", "params", "resumable")),
        used_by=_SESSIONS,
        why="A prompt that arrives in pieces is known there by the last of these.",
    ),
    _PROCESSOR(
        id="input_processor.arrival_time",
        symbol="InputProcessor.process_inputs",
        need=Contains(("arrival_time = time.time()", "arrival_time=arrival_time")),
        used_by="value_steer.http.engines._own",
        why="By another clock an answer would get the outcome of an earlier one under its id.",
    ),
    _PROCESSOR(
        id="input_processor.model_config",
        symbol="InputProcessor",
        need=Assigns(("model_config",)),
        used_by=_SESSIONS,
        why="By its configuration an engine that filters is told from others.",
    ),
)
