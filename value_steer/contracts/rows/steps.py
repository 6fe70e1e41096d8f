"""The two calls of a step, at the model runner, where every executor comes through."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Accepts, Assigns, Calls, Exists, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, modes=frozenset(Mode))
_ANY = partial(_ROW, runners=frozenset(Runner))
_WORKER = partial(_ANY, path="vllm/v1/worker/gpu_worker.py")
_V1 = partial(_ROW, runners=frozenset({Runner.V1}), path="vllm/v1/worker/gpu_model_runner.py")
_V2 = partial(_ROW, runners=frozenset({Runner.V2}), path="vllm/v1/worker/gpu/model_runner.py")

_CALLS = "value_steer.engine.hooks.StepCalls"
_FIRST = "Each step begins here, whichever executor runs it; its requests are followed from here."
_SECOND = "Each step is sampled here; what it gives out is filtered here."
_CONNECTOR = "value_steer.engine.self_test._without_connector"
_MEMORY = "The heads lie on the device before the host measures what is left for its cache."

ROWS: tuple[Surface, ...] = (
    _WORKER(
        id="gpu_worker.executes_by_runner",
        symbol="Worker.execute_model",
        need=Calls("self.model_runner.execute_model", positional=1),
        used_by=f"{_CALLS}.__init__",
        why=_FIRST,
    ),
    _WORKER(
        id="gpu_worker.samples_by_runner",
        symbol="Worker.sample_tokens",
        need=Calls("self.model_runner.sample_tokens", positional=1),
        used_by=f"{_CALLS}.__init__",
        why=_SECOND,
    ),
    _V1(
        id="runner.execute_model",
        symbol="GPUModelRunner.execute_model",
        need=Parameters(("scheduler_output",)),
        used_by=f"{_CALLS}._execute",
        why=_FIRST,
    ),
    _V1(
        id="runner.sample_tokens",
        symbol="GPUModelRunner.sample_tokens",
        need=Parameters(("grammar_output",)),
        used_by=f"{_CALLS}._sample",
        why=_SECOND,
    ),
    _V2(
        id="runner_v2.execute_model",
        symbol="GPUModelRunner.execute_model",
        need=Accepts(("scheduler_output", "dummy_run")),
        used_by=f"{_CALLS}._is_dummy",
        why=f"{_FIRST} Dummy steps keep data-parallel engines in lockstep and are not.",
    ),
    _V2(
        id="runner_v2.sample_tokens",
        symbol="GPUModelRunner.sample_tokens",
        need=Parameters(("grammar_output",)),
        used_by=f"{_CALLS}._sample",
        why=_SECOND,
    ),
    _V1(
        id="runner.has_kv_transfer_group",
        symbol="has_kv_transfer_group",
        need=Exists(),
        used_by=_CONNECTOR,
        why="A KV connector must not see the synthetic request of the self-test.",
    ),
    _V1(
        id="kv_connector_mixin.has_kv_transfer_group",
        path="vllm/v1/worker/kv_connector_model_runner_mixin.py",
        symbol="has_kv_transfer_group",
        need=Exists(),
        used_by=_CONNECTOR,
        why="A KV connector must not see the synthetic request of the self-test.",
    ),
    _V2(
        id="runner_v2.kv_connector",
        symbol="GPUModelRunner",
        need=Assigns(("kv_connector",)),
        used_by=_CONNECTOR,
        why="A KV connector must not see the synthetic request of the self-test.",
    ),
    _V2(
        id="kv_connector_v2.set_disabled",
        path="vllm/v1/worker/gpu/kv_connector.py",
        symbol="KVConnector.set_disabled",
        need=Parameters(("disabled",)),
        used_by=_CONNECTOR,
        why="A KV connector must not see the synthetic request of the self-test.",
    ),
    _V1(
        id="runner.model_memory_usage",
        symbol="GPUModelRunner",
        need=Assigns(("model_memory_usage",)),
        used_by="value_steer.engine.assembly.place",
        why=_MEMORY,
    ),
    _V2(
        id="runner_v2.model_memory_usage",
        symbol="GPUModelRunner",
        need=Assigns(("model_memory_usage",)),
        used_by="value_steer.engine.assembly.place",
        why=_MEMORY,
    ),
)
