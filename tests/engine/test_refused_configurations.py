"""An engine that cannot be steered, or filtered, says why and what to do, and no other does."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from value_steer import engine
from value_steer.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

_LATE = "value_steer.engine.scheduling.scheduler.LateScheduler"


class Host:
    """The module under test, in a process without vLLM.

    Attributes:
        module: ``value_steer.engine.host``.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._platform = SimpleNamespace(is_cpu=lambda: True, device_name="cuda")
        environment = SimpleNamespace(VLLM_USE_V2_MODEL_RUNNER=False)
        registration = SimpleNamespace(
            REMEDY="the engine's scheduler knows nothing of value-steer",
            is_ours=lambda config: config.scheduler_config.scheduler_cls is not None,
            takes_tokens_back=lambda config: config.scheduler_config.scheduler_cls == _LATE,
        )
        replaced: dict[str, Any] = {
            "vllm": _module(__version__="0.28.0", envs=environment),
            "vllm.distributed": _module(),
            "vllm.distributed.parallel_state": _module(get_pp_group=None),
            "vllm.platforms": _module(current_platform=self._platform),
            "vllm.tokenizers": _module(),
            "vllm.tokenizers.registry": _module(cached_tokenizer_from_config=None),
            "value_steer.engine.scheduling.registration": registration,
        }
        for name, module in replaced.items():
            monkeypatch.setitem(sys.modules, name, module)
        # Under a name of its own, so that no other test meets this copy.
        spec = spec_from_file_location("host_without_vllm", Path(engine.__path__[0]) / "host.py")
        assert spec is not None
        assert spec.loader is not None
        self.module: Any = module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def is_release(self, version: str) -> None:
        """Run another release."""
        self._monkeypatch.setattr(self.module.vllm, "__version__", version)

    def is_gpu(self) -> None:
        """Run on another platform."""
        self._monkeypatch.setattr(self._platform, "is_cpu", lambda: False)


def _module(**names: object) -> ModuleType:
    module = ModuleType("stands for a part of vLLM")
    vars(module).update(names)
    return module


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """On vLLM 0.28.0 and a CPU."""
    return Host(monkeypatch)


def _config(**changes: Any) -> Any:
    """A plain configuration with some of its fields changed, as ``part__field``."""
    parts: dict[str, dict[str, Any]] = {
        "parallel_config": {
            "pipeline_parallel_size": 1,
            "prefill_context_parallel_size": 1,
            "distributed_executor_backend": "mp",
        },
        "scheduler_config": {"async_scheduling": False, "scheduler_cls": _LATE},
        "model_config": {
            "runner_type": "generate",
            "has_inner_state": False,
            "hf_text_config": SimpleNamespace(sliding_window=None),
        },
    }
    whole: dict[str, Any] = {
        "use_v2_model_runner": False,
        "speculative_config": None,
        "kv_transfer_config": None,
    }
    for name, value in changes.items():
        part, _, own = name.partition("__")
        (parts[part] if own else whole)[own or part] = value
    return SimpleNamespace(**whole, **{k: SimpleNamespace(**v) for k, v in parts.items()})


def _reasons(check: Callable[[Any], None], config: Any) -> list[str]:
    try:
        check(config)
    except UnsupportedError as error:
        first, *reasons = str(error).splitlines()
        assert first == "value-steer cannot steer this engine:"
        return reasons
    return []


_NGRAM = SimpleNamespace(method="ngram", num_speculative_tokens=3)
_STEERED: list[tuple[str, dict[str, Any]]] = [
    ("--prefill-context-parallel-size 1", {"parallel_config__prefill_context_parallel_size": 2}),
    ("generates no tokens", {"model_config__runner_type": "pooling"}),
    (
        "--enable-batch-sharded-sampling",
        {"parallel_config__enable_batch_sharded_sampling": True},
    ),
    ("autoregressive model", {"model_config__is_diffusion": True}),
    ("aux-output connector", {"aux_output_config": SimpleNamespace(enabled=True)}),
    (
        "ngram_gpu",
        {"speculative_config": SimpleNamespace(method="ngram_gpu", num_speculative_tokens=3)},
    ),
    (
        "drafts are judged right",
        {"speculative_config": _NGRAM, "use_v2_model_runner": True},
    ),
]
_FILTERED: list[tuple[str, dict[str, Any]]] = [
    ("remove --speculative-config", {"speculative_config": _NGRAM}),
    ("--pipeline-parallel-size 1", {"parallel_config__pipeline_parallel_size": 2}),
    ("knows nothing of value-steer", {"scheduler_config__scheduler_cls": None}),
    ("attention layers only", {"model_config__has_inner_state": True}),
    ("remove --kv-transfer-config", {"kv_transfer_config": SimpleNamespace()}),
    ("remove --return-sampling-mask", {"model_config__return_sampling_mask": True}),
    ("routed experts", {"model_config__enable_return_routed_experts": True}),
    ("watermark", {"watermark_config": SimpleNamespace()}),
]


def test_a_plain_engine_is_steered(host: Host) -> None:
    """On either runner, however it schedules, in every mode; drafts are, where they are judged."""
    for changes in (
        {},
        {"use_v2_model_runner": True},
        {"scheduler_config__async_scheduling": True},
        {"aux_output_config": SimpleNamespace(enabled=False)},
    ):
        assert _reasons(host.module.refuse_unsupported, _config(**changes)) == []
        assert _reasons(host.module.refuse_unfilterable, _config(**changes)) == []
    assert _reasons(host.module.refuse_unsupported, _config(speculative_config=_NGRAM)) == []


@pytest.mark.parametrize(("said", "changes"), _STEERED)
def test_what_cannot_be_steered_is_named(host: Host, said: str, changes: dict[str, Any]) -> None:
    """One reason for one setting, in whichever mode."""
    (reason,) = _reasons(host.module.refuse_unsupported, _config(**changes))

    assert said in reason


@pytest.mark.parametrize(("said", "changes"), _FILTERED)
def test_what_cannot_be_filtered_is_named(host: Host, said: str, changes: dict[str, Any]) -> None:
    """One reason for one setting; most of them can be abstained with."""
    (reason,) = _reasons(host.module.refuse_unfilterable, _config(**changes))

    assert said in reason


@pytest.mark.parametrize(
    ("release", "changes", "refused"),
    [
        ("0.28.0", {}, False),
        ("0.29.1", {}, False),
        ("0.27.1", {}, True),
        ("0.28.0", {"use_v2_model_runner": True}, True),
        ("0.28.0", {"scheduler_config__async_scheduling": True}, True),
        ("0.28.0", {"speculative_config": _NGRAM}, True),
        ("0.28.0", {"parallel_config__distributed_executor_backend": "external_launcher"}, True),
    ],
)
def test_a_pipeline_is_steered_where_its_last_stage_alone_samples(
    host: Host, release: str, changes: dict[str, Any], *, refused: bool
) -> None:
    """And where that was seen to work."""
    host.is_release(release)
    config = _config(parallel_config__pipeline_parallel_size=2, **changes)

    reasons = _reasons(host.module.refuse_unsupported, config)

    assert len(reasons) == refused
    assert all("pipeline parallelism" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("release", "refused"),
    [("0.19.1", True), ("0.20.0", False), ("0.24.0", True), ("0.25.0+cpu", False)],
)
def test_a_cpu_build_that_cannot_draft_is_named(host: Host, release: str, *, refused: bool) -> None:
    """In words, and not by vLLM's own trace; on a GPU each of them can."""
    host.is_release(release)
    config = _config(speculative_config=_NGRAM)
    assert len(_reasons(host.module.refuse_unsupported, config)) == refused

    host.is_gpu()
    assert _reasons(host.module.refuse_unsupported, config) == []


@pytest.mark.parametrize(
    ("release", "asynchronous", "window", "refused"),
    [
        ("0.25.1", True, 4096, True),
        ("0.25.1", False, 4096, False),
        ("0.25.1", True, None, False),
        ("0.26.0", True, 4096, False),
    ],
)
def test_a_sliding_window_that_is_freed_too_early_is_not_filtered(
    host: Host, release: str, window: int | None, *, asynchronous: bool, refused: bool
) -> None:
    """A token that is taken back needs the block that left the window."""
    host.is_release(release)
    config = _config(
        scheduler_config__async_scheduling=asynchronous,
        model_config__hf_text_config=SimpleNamespace(sliding_window=window),
    )

    reasons = _reasons(host.module.refuse_unfilterable, config)

    assert len(reasons) == refused
    assert all("--no-async-scheduling" in reason for reason in reasons)


def test_every_reason_is_told_at_once(host: Host) -> None:
    """Nobody is sent from one to the next."""
    changes = {**_FILTERED[3][1], **_FILTERED[4][1], **_FILTERED[7][1]}

    reasons = _reasons(host.module.refuse_unfilterable, _config(**changes))

    assert len(reasons) == 3
    assert all(reason.startswith("- ") for reason in reasons)


def test_nothing_is_recorded_behind_a_scheduler_of_another(host: Host) -> None:
    """An empty file would look like traffic that nobody had."""
    assert _reasons(host.module.refuse_unrecordable, _config()) == []

    config = _config(scheduler_config__scheduler_cls=None)
    (reason,) = _reasons(host.module.refuse_unrecordable, config)
    assert "nothing would be recorded" in reason
