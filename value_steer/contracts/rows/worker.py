"""The worker that value-steer derives from, and how it learns which one that is."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import (
    AssignedFrom,
    Assigns,
    Exists,
    Fields,
    IsClass,
    Parameters,
    Property,
)
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset(Mode))
_CPU = partial(_ROW, path="vllm/v1/worker/cpu_worker.py")
_GPU = partial(_ROW, path="vllm/v1/worker/gpu_worker.py")
_PLATFORM = partial(_ROW, path="vllm/platforms/interface.py")
_GROUPS = partial(_ROW, path="vllm/distributed/parallel_state.py")

_WORKER = "value_steer.engine.worker.ValueSteerWorker"
_CONSTRUCTION = (
    "vllm_config",
    "local_rank",
    "rank",
    "distributed_init_method",
    "is_driver_worker",
)

ROWS: tuple[Surface, ...] = (
    _ROW(
        id="vllm.version",
        path="vllm/__init__.py",
        symbol="__version__",
        need=Exists(),
        used_by="value_steer.engine.host.vllm_version",
        why="The running version is looked up in the registry of validated ones.",
    ),
    _ROW(
        id="platforms.current_platform",
        path="vllm/platforms/__init__.py",
        symbol="current_platform",
        need=Exists(),
        used_by="value_steer.engine.host.worker_base",
        why="The platform decides which worker class value-steer derives from.",
    ),
    _PLATFORM(
        id="platform.is_cpu",
        symbol="Platform.is_cpu",
        need=Parameters(),
        used_by="value_steer.engine.host.worker_base",
        why="CPU and accelerators have different worker classes.",
    ),
    _PLATFORM(
        id="platform.device_name",
        symbol="Platform",
        need=Fields(("device_name",)),
        used_by="value_steer.engine.host.lane",
        why="Evidence applies to one class of devices, which is named by it.",
    ),
    _PLATFORM(
        id="platform.get_device_capability",
        symbol="Platform.get_device_capability",
        need=Parameters(on_class=True),
        used_by="value_steer.engine.host.lane",
        why="Evidence on one GPU generation does not speak for another.",
    ),
    _PLATFORM(
        id="platform.device_capability",
        symbol="DeviceCapability",
        need=Fields(("major", "minor")),
        used_by="value_steer.engine.host.lane",
        why="The GPU generation is named by these two numbers.",
    ),
    _CPU(
        id="cpu_worker.is_worker",
        symbol="CPUWorker",
        need=IsClass(bases=("Worker",)),
        used_by="value_steer.engine.host.worker_base",
        why="One subclass serves both workers because the CPU's is a GPU worker too.",
    ),
    _CPU(
        id="cpu_worker.init",
        symbol="CPUWorker.__init__",
        need=Parameters(_CONSTRUCTION),
        used_by=f"{_WORKER}.__init__",
        why="The settings are read from the configuration, which comes first.",
    ),
    _CPU(
        id="cpu_worker.load_model",
        symbol="CPUWorker.load_model",
        need=Parameters(),
        used_by=f"{_WORKER}.load_model",
        why="The hooks go in as soon as the model is loaded.",
    ),
    _CPU(
        id="cpu_worker.compile_or_warm_up_model",
        symbol="CPUWorker.compile_or_warm_up_model",
        need=Parameters(),
        used_by=f"{_WORKER}.compile_or_warm_up_model",
        why="The self-test runs after the warm-up and before the first request.",
    ),
    _CPU(
        id="cpu_worker.execute_model",
        symbol="CPUWorker.execute_model",
        need=Parameters(("scheduler_output",)),
        used_by="value_steer.engine.self_test._step",
        why="The self-test goes through the worker's own two calls, as an executor's steps do.",
    ),
    _CPU(
        id="cpu_worker.sample_tokens",
        symbol="CPUWorker.sample_tokens",
        need=Parameters(("grammar_output",)),
        used_by="value_steer.engine.self_test._step",
        why="The self-test goes through the worker's own two calls, as an executor's steps do.",
    ),
    _GPU(
        id="gpu_worker.is_worker",
        symbol="Worker",
        need=IsClass(bases=("WorkerBase",)),
        used_by="value_steer.engine.host.worker_base",
        why="The worker on accelerators is derived from it.",
    ),
    _GPU(
        id="gpu_worker.init",
        symbol="Worker.__init__",
        need=Parameters(_CONSTRUCTION),
        used_by=f"{_WORKER}.__init__",
        why="The settings are read from the configuration, which comes first.",
    ),
    _GPU(
        id="gpu_worker.load_model",
        symbol="Worker.load_model",
        need=Parameters(),
        used_by=f"{_WORKER}.load_model",
        why="The hooks go in as soon as the model is loaded.",
    ),
    _GPU(
        id="gpu_worker.compile_or_warm_up_model",
        symbol="Worker.compile_or_warm_up_model",
        need=Parameters(),
        used_by=f"{_WORKER}.compile_or_warm_up_model",
        why="The self-test runs after the warm-up and before the first request.",
    ),
    _GPU(
        id="gpu_worker.execute_model",
        symbol="Worker.execute_model",
        need=Parameters(("scheduler_output",)),
        used_by="value_steer.engine.self_test._step",
        why="The self-test goes through the worker's own two calls, as an executor's steps do.",
    ),
    _GPU(
        id="gpu_worker.sample_tokens",
        symbol="Worker.sample_tokens",
        need=Parameters(("grammar_output",)),
        used_by="value_steer.engine.self_test._step",
        why="The self-test goes through the worker's own two calls, as an executor's steps do.",
    ),
    _GPU(
        id="gpu_worker.state",
        symbol="Worker",
        need=Assigns(("model_runner", "use_v2_model_runner")),
        used_by=f"{_WORKER}.load_model",
        why="The hooks go into the runner that the worker built, by the configuration's choice.",
    ),
    _GPU(
        id="gpu_worker.chooses_runner",
        symbol="Worker",
        need=AssignedFrom(
            "use_v2_model_runner",
            ("vllm_config.use_v2_model_runner", "envs.VLLM_USE_V2_MODEL_RUNNER"),
        ),
        used_by="value_steer.engine.host.runner_kind",
        why="Which runner the worker will build is asked of the same place before it does.",
    ),
    _ROW(
        id="worker_base.state",
        path="vllm/v1/worker/worker_base.py",
        symbol="WorkerBase",
        need=Assigns(("vllm_config", "rank")),
        used_by="value_steer.engine.assembly.steer",
        why="The batch's limits come from the configuration; the first rank speaks for all.",
    ),
    _GROUPS(
        id="distributed.get_tp_group",
        symbol="get_tp_group",
        need=Parameters(),
        used_by="value_steer.engine.agreement.agreement",
        why="Tensor-parallel ranks must take the same decision.",
    ),
    _GROUPS(
        id="distributed.get_pp_group",
        modes=frozenset({Mode.ABSTAIN}),
        symbol="get_pp_group",
        need=Parameters(),
        used_by="value_steer.engine.host.samples",
        why="Only the last stage of a pipeline samples.",
    ),
    _GROUPS(
        id="distributed.is_last_rank",
        modes=frozenset({Mode.ABSTAIN}),
        symbol="GroupCoordinator.is_last_rank",
        need=Property(),
        used_by="value_steer.engine.host.samples",
        why="Only the last stage of a pipeline samples.",
    ),
    _GROUPS(
        id="distributed.broadcast",
        symbol="GroupCoordinator.broadcast",
        need=Parameters(("input_", "src")),
        used_by="value_steer.engine.agreement.agreement",
        why="The first rank's decision is sent to all.",
    ),
)
