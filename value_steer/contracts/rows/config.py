"""The configuration that value-steer reads its settings from and refuses to run on."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Assigns, Exists, Fields, IsClass, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset(Mode))
_VLLM = partial(_ROW, path="vllm/config/vllm.py")
_MODEL = partial(_ROW, path="vllm/config/model.py")

ROWS: tuple[Surface, ...] = (
    _ROW(
        id="config.vllm_config",
        path="vllm/config/__init__.py",
        symbol="VllmConfig",
        need=IsClass(),
        used_by="value_steer.engine.worker.ValueSteerWorker.__init__",
        why="The worker is made from it.",
    ),
    _ROW(
        id="config.model_config",
        path="vllm/config/__init__.py",
        symbol="ModelConfig",
        need=IsClass(),
        used_by="value_steer.engine.modes.prepare",
        why="The head is loaded for the model that it describes.",
    ),
    _VLLM(
        id="vllm_config.fields",
        symbol="VllmConfig",
        need=Fields(
            (
                "additional_config",
                "speculative_config",
                "model_config",
                "parallel_config",
                "scheduler_config",
            )
        ),
        used_by="value_steer.engine.host._reasons",
        why="The settings are in it, and so is what steering refuses to run on.",
    ),
    _ROW(
        id="envs.use_v2_model_runner",
        path="vllm/envs.py",
        symbol="VLLM_USE_V2_MODEL_RUNNER",
        need=Exists(),
        used_by="value_steer.engine.host.runner_kind",
        why="It decides which model runner is built where the configuration does not.",
    ),
    _ROW(
        id="exceptions.validation_error",
        path="vllm/exceptions.py",
        symbol="VLLMValidationError",
        need=Exists(),
        used_by="value_steer.engine.frontend.RequestCheck.__call__",
        why="A server answers it with 400 and its message, and any other error with 500.",
    ),
    _ROW(
        id="parallel_config.fields",
        path="vllm/config/parallel.py",
        symbol="ParallelConfig",
        need=Fields(
            (
                "distributed_executor_backend",
                "pipeline_parallel_size",
                "prefill_context_parallel_size",
                "tensor_parallel_size",
                "worker_cls",
            )
        ),
        used_by="value_steer.engine.host._reasons",
        why="Tensor parallelism needs agreement, and other kinds are refused.",
    ),
    _ROW(
        id="scheduler_config.max_num_seqs",
        path="vllm/config/scheduler.py",
        symbol="SchedulerConfig",
        need=Fields(("max_num_seqs",)),
        used_by="value_steer.engine.assembly.steer",
        why="It bounds the rows of a batch, for which buffers are kept.",
    ),
    _MODEL(
        id="model_config.runner_type",
        symbol="ModelConfig",
        need=Assigns(("runner_type",)),
        used_by="value_steer.engine.host._reasons",
        why="A model that generates no tokens cannot be steered.",
    ),
    _MODEL(
        id="model_config.fields",
        symbol="ModelConfig",
        need=Fields(("model", "dtype")),
        used_by="value_steer.engine.host.fingerprint",
        why="A calibration holds for one model in one precision.",
    ),
    _MODEL(
        id="model_config.hf_text_config",
        symbol="ModelConfig",
        need=Assigns(("hf_text_config",)),
        used_by="value_steer.engine.host.refuse_unfilterable",
        why="A sliding window is refused where its blocks are freed too early.",
    ),
    _MODEL(
        id="model_config.get_hidden_size",
        symbol="ModelConfig.get_hidden_size",
        need=Parameters(),
        used_by="value_steer.engine.modes._head",
        why="The head must fit the model's hidden states.",
    ),
)
