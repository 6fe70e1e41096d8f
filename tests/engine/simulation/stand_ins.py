"""Stand-ins for the few modules of vLLM that the worker side imports, where there is none."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


class AsyncModelRunnerOutput:
    """A promise of a step's output."""


def _unused(*_: Any) -> Any:
    raise NotImplementedError


_NAMES: dict[str, dict[str, Any]] = {
    "vllm": {},
    "vllm.v1": {},
    "vllm.v1.outputs": {"AsyncModelRunnerOutput": AsyncModelRunnerOutput},
    "vllm.v1.sample": {},
    "vllm.v1.sample.ops": {},
    "vllm.v1.sample.ops.topk_topp_sampler": {"apply_top_k_top_p": _unused},
}


def with_host(name: str) -> Any:
    """Import a module of the engine; it gets vLLM's own parts where vLLM is installed."""
    if importlib.util.find_spec("vllm") is not None or name in sys.modules:
        return importlib.import_module(name)
    for stand_in, contents in _NAMES.items():
        module = ModuleType(stand_in)
        vars(module).update(contents, __path__=[])
        sys.modules[stand_in] = module
    try:
        return importlib.import_module(name)
    finally:
        # Whether vLLM is installed is what other tests ask.
        for stand_in in _NAMES:
            del sys.modules[stand_in]


RunnerV1 = with_host("value_steer.engine.runners.v1").RunnerV1
RunnerV2 = with_host("value_steer.engine.runners.v2").RunnerV2
SteeredSteps = with_host("value_steer.engine.steps").SteeredSteps
