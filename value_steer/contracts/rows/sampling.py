"""The sampler's arguments and output, and the sampling parameters of a request."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Accepts, Calls, Fields, IsClass, Parameters, Property
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset(Mode))
_SAMPLER = partial(_ROW, path="vllm/v1/sample/sampler.py", runners=frozenset({Runner.V1}))
_OUTPUTS = partial(_ROW, path="vllm/v1/outputs.py")
_PARAMS = partial(_ROW, path="vllm/sampling_params.py")

ROWS: tuple[Surface, ...] = (
    _SAMPLER(
        id="sampler.forward",
        symbol="Sampler.forward",
        need=Parameters(("logits", "sampling_metadata")),
        used_by="value_steer.engine.hooks.SteeredSampler.__call__",
        why="The stand-in passes on what it is called with and reads the logits from it.",
    ),
    _SAMPLER(
        id="sampler.is_module",
        symbol="Sampler",
        need=IsClass(bases=("Module",)),
        used_by="value_steer.engine.hooks.SteeredSampler.__call__",
        why="Calling the sampler is calling its forward.",
    ),
    _OUTPUTS(
        id="sampler_output.fields",
        symbol="SamplerOutput",
        runners=frozenset({Runner.V1}),
        need=Fields(("sampled_token_ids", "logprobs_tensors"), writable=True),
        used_by="value_steer.engine.abstain.StopTokens.force",
        why="The sampled token of a row that ends is replaced in it.",
    ),
    _OUTPUTS(
        id="logprobs_tensors.fields",
        symbol="LogprobsTensors",
        need=Fields(("logprob_token_ids", "logprobs", "selected_token_ranks")),
        used_by="value_steer.engine.abstain.StopTokens.force",
        why="The caller's log-probabilities must be those of the token that ends the row.",
    ),
    _OUTPUTS(
        id="logprobs_tensors.is_named_tuple",
        symbol="LogprobsTensors",
        need=IsClass(bases=("NamedTuple",)),
        used_by="value_steer.engine.abstain.StopTokens.force",
        why="Its tensors are changed in place because its fields cannot be.",
    ),
    _OUTPUTS(
        id="model_runner_output.sampled_token_ids",
        symbol="ModelRunnerOutput",
        need=Fields(("sampled_token_ids",)),
        used_by="value_steer.engine.self_test._emitted",
        why="The self-test compares the token that comes out with the one it forced.",
    ),
    _OUTPUTS(
        id="async_output.get_output",
        symbol="AsyncModelRunnerOutput.get_output",
        need=Parameters(),
        used_by="value_steer.engine.self_test._emitted",
        why="With asynchronous scheduling the tokens come out through it.",
    ),
    _PARAMS(
        id="sampling_params.fields",
        symbol="SamplingParams",
        need=Fields(
            (
                "temperature",
                "max_tokens",
                "min_tokens",
                "ignore_eos",
                "stop_token_ids",
                "structured_outputs",
                "logprobs",
                "extra_args",
            )
        ),
        used_by="value_steer.engine.admission.Admission.__call__",
        why="A request says here whether and how it may be ended.",
    ),
    _PARAMS(
        id="sampling_params.verify",
        symbol="SamplingParams.verify",
        need=Accepts(("model_config",)),
        used_by="value_steer.engine.frontend.register",
        why="A request is verified where it enters, and tells by it which engine it is for.",
    ),
    _ROW(
        id="input_processor.verifies",
        path="vllm/v1/engine/input_processor.py",
        symbol="InputProcessor._validate_params",
        need=Calls("params.verify", positional=1),
        used_by="value_steer.engine.frontend.register",
        why="Verified in another way, bad settings would be found by the worker, after the queue.",
    ),
    _PARAMS(
        id="sampling_params.eos_token_id",
        symbol="SamplingParams.eos_token_id",
        need=Property(),
        used_by="value_steer.engine.admission._stop_token",
        why="It is the id on which the scheduler ends the request.",
    ),
)
