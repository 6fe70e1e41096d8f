"""The host's configuration, and the configurations in which steering would not be correct."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import vllm
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from vllm import envs
from vllm.distributed.parallel_state import get_pp_group
from vllm.platforms import current_platform
from vllm.tokenizers.registry import cached_tokenizer_from_config

from value_steer.engine.scheduling.registration import REMEDY, is_ours, takes_tokens_back
from value_steer.errors import UnsupportedError
from value_steer.value_probe.fingerprint import SettingsFingerprint

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig
    from vllm.v1.worker.gpu_worker import Worker


_FREES_WHAT_IS_PROCESSED = Version("0.26")

_FIRST_WITH_STAGES = Version("0.28")
"""The first release on which a pipeline was seen to be steered."""

_NO_DRAFTS_ON_CPU = (SpecifierSet("<0.20"), SpecifierSet(">=0.23,<0.25"))
"""CPU builds that refuse to decode speculatively, and those whose kernel lacks an argument."""


def worker_base() -> type[Worker]:
    """The host's own worker class for the current platform."""
    if current_platform.is_cpu():
        from vllm.v1.worker.cpu_worker import CPUWorker  # noqa: PLC0415  (CPU builds only)

        return CPUWorker
    from vllm.v1.worker.gpu_worker import Worker  # noqa: PLC0415  (accelerator builds only)

    return Worker


def vllm_version() -> str:
    """The version of the vLLM that runs, whatever its distribution is called."""
    return vllm.__version__


def fingerprint(model_config: ModelConfig) -> SettingsFingerprint:
    """The settings of this engine that a calibration depends on, as far as it knows them."""
    return SettingsFingerprint(
        model=model_config.model,
        dtype=str(model_config.dtype).removeprefix("torch."),
        engine=f"vllm {vllm_version()}",
    )


def tokenizer(model_config: ModelConfig) -> Any:
    """The tokenizer of the model; ``None`` if the engine has none."""
    return cached_tokenizer_from_config(model_config)


def lane(vllm_config: VllmConfig) -> str:
    """The lane of the evidence that applies here: ``cpu``, ``cpu-async``, ``cuda-sm90``, ..."""
    if current_platform.is_cpu():
        words = {
            "interpreted": runner_kind(vllm_config) == "v2",
            "async": bool(vllm_config.scheduler_config.async_scheduling),
        }
        return "-".join(("cpu", *(word for word, holds in words.items() if holds)))
    capability = current_platform.get_device_capability()
    if capability is None:
        return current_platform.device_name
    return f"{current_platform.device_name}-sm{capability.major}{capability.minor}"


def runner_kind(vllm_config: VllmConfig) -> str:
    """Which model runner the host builds for this configuration: ``v1`` or ``v2``."""
    # Where the configuration does not decide, the environment alone does.
    chosen = getattr(vllm_config, "use_v2_model_runner", envs.VLLM_USE_V2_MODEL_RUNNER)
    return "v2" if chosen else "v1"


def samples() -> bool:
    """Whether this worker samples: only the last stage of a pipeline does."""
    return bool(get_pp_group().is_last_rank)


def drafted_tokens(vllm_config: VllmConfig) -> int:
    """Draft tokens per request and step; 0 without speculative decoding."""
    speculative = vllm_config.speculative_config
    return 0 if speculative is None else int(speculative.num_speculative_tokens)


def refuse_unsupported(vllm_config: VllmConfig) -> None:
    """Refuse every configuration in which a decision would be missed or misplaced.

    Raises:
        UnsupportedError: Names each offending setting and what to do about it.
    """
    _refuse(_reasons(vllm_config))


def refuse_unfilterable(vllm_config: VllmConfig) -> None:
    """Refuse every configuration in which a token cannot be held and rolled back.

    Raises:
        UnsupportedError: Names each offending setting and what to do about it.
    """
    checks = {
        "speculative decoding gives a request several tokens in a step, and value filtering holds "
        "one; remove --speculative-config": vllm_config.speculative_config is not None,
        "with pipeline parallelism the first stage does not know a token that is held; use "
        "--pipeline-parallel-size 1 (tensor parallelism is supported)": (
            vllm_config.parallel_config.pipeline_parallel_size > 1
        ),
        REMEDY: not takes_tokens_back(vllm_config),
        "a model with recurrent layers cannot take a token back; filter a model with "
        "attention layers only": vllm_config.model_config.has_inner_state,
        "a KV connector would send the cache of tokens that are not committed; remove "
        "--kv-transfer-config": vllm_config.kv_transfer_config is not None,
        "sampling masks and routed experts go out with the step that sampled a token, which here "
        "is not the one that gives it out; remove --return-sampling-mask and "
        "--enable-return-routed-experts": any(
            getattr(vllm_config.model_config, name, False)
            for name in ("return_sampling_mask", "enable_return_routed_experts")
        ),
        "before vLLM 0.26 asynchronous scheduling frees the block that leaves a sliding window one "
        "step too early for a token that is taken back; add --no-async-scheduling": (
            bool(vllm_config.scheduler_config.async_scheduling)
            and Version(vllm_version()) < _FREES_WHAT_IS_PROCESSED
            and getattr(vllm_config.model_config.hf_text_config, "sliding_window", None) is not None
        ),
        "a watermark is proven from the tokens that were sampled, which filtering replaces; remove "
        "the watermarking configuration": _has(vllm_config, "watermark_config"),
    }
    _refuse([reason for reason, found in checks.items() if found])


def refuse_unrecordable(vllm_config: VllmConfig) -> None:
    """Refuse to record traffic where the scheduler does not.

    Raises:
        UnsupportedError: Says why, and what to do about it.
    """
    _refuse([] if is_ours(vllm_config) else [f"nothing would be recorded, since {REMEDY}"])


def _refuse(reasons: list[str]) -> None:
    if reasons:
        msg = "value-steer cannot steer this engine:\n" + "\n".join(f"- {r}" for r in reasons)
        raise UnsupportedError(msg)


def _reasons(vllm_config: VllmConfig) -> list[str]:
    speculates = vllm_config.speculative_config is not None
    checks = {
        "pipeline parallelism is steered from vLLM 0.28 on, with Model Runner V1, without "
        "speculative decoding, with --no-async-scheduling and without external_launcher; use "
        "that, or --pipeline-parallel-size 1": (
            vllm_config.parallel_config.pipeline_parallel_size > 1
            and (
                Version(vllm_version()) < _FIRST_WITH_STAGES
                or speculates
                or runner_kind(vllm_config) == "v2"
                or bool(vllm_config.scheduler_config.async_scheduling)
                # Its stages sample each for itself, from logits that the last one sends.
                or vllm_config.parallel_config.distributed_executor_backend == "external_launcher"
            )
        ),
        f"runner type {vllm_config.model_config.runner_type!r} generates no tokens; steer a "
        "generative model": vllm_config.model_config.runner_type != "generate",
        "with batch-sharded sampling no rank sees all features; remove "
        "--enable-batch-sharded-sampling": bool(
            getattr(vllm_config.parallel_config, "enable_batch_sharded_sampling", False)
        ),
        "with prefill context parallelism no rank sees all hidden states; use "
        "--prefill-context-parallel-size 1": (
            vllm_config.parallel_config.prefill_context_parallel_size > 1
        ),
        "a diffusion model fills a canvas in any order, so no step judges one token; steer an "
        "autoregressive model": getattr(vllm_config.model_config, "is_diffusion", False),
        "the aux-output connector sends hidden states beside the tokens of their step; remove "
        "its configuration": bool(
            getattr(getattr(vllm_config, "aux_output_config", None), "enabled", False)
        ),
    }
    found = [reason for reason, applies in checks.items() if applies]
    return [*found, *(_of_drafts(vllm_config) if speculates else [])]


def _of_drafts(vllm_config: VllmConfig) -> list[str]:
    """Why abstention cannot judge the drafts of this engine."""
    checks = {
        "with Model Runner V2 nothing shows yet that drafts are judged right; set "
        "VLLM_USE_V2_MODEL_RUNNER=0, or remove --speculative-config": (
            runner_kind(vllm_config) == "v2"
        ),
        f"vLLM {vllm_version()} cannot decode speculatively on a CPU; use another release, or "
        "remove --speculative-config": _lacks_drafts(),
        "speculative decoding with ngram_gpu changes the drafts of a step once it is scheduled; "
        "use another method, such as ngram": (vllm_config.speculative_config.method == "ngram_gpu"),
    }
    return [reason for reason, applies in checks.items() if applies]


def _lacks_drafts() -> bool:
    """Whether the host itself cannot decode speculatively here."""
    version = Version(vllm_version()).base_version
    return current_platform.is_cpu() and any(version in found for found in _NO_DRAFTS_ON_CPU)


def _has(vllm_config: VllmConfig, name: str) -> bool:
    """Whether a configuration that some releases do not know is given."""
    return getattr(vllm_config, name, None) is not None
