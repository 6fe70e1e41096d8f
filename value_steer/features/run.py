"""``value-steer capture``: from a data set and a model to a cache of features."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol

from transformers import AutoConfig

from value_steer.features.cache import CacheSpec, FeatureCache
from value_steer.features.capture import CapturePlan, capture, engine_options, sampling_settings
from value_steer.labels.datasets import load_prompts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from value_steer.features.engine import Engine, Sampling


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How responses are sampled; the names are those of ``vllm.SamplingParams``.

    Serve with the same ones: what is calibrated on these responses holds for responses like them.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int = 400


@dataclass(frozen=True, slots=True)
class CaptureTask:
    """What to capture.

    Attributes:
        model: Identifier or folder of the model.
        dataset: Name of the data set, see :mod:`value_steer.labels.datasets`.
        path: Its files.
        cache: Folder of the features.
        limit: Prompts at most.
        dtype: To store the states in.
        sampling: How responses are sampled.
        plan: How many, and in which batches.
    """

    model: str
    dataset: str
    path: Path
    cache: Path
    limit: int | None = None
    dtype: str = "float32"
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    plan: CapturePlan = field(default_factory=CapturePlan)


@dataclass(frozen=True, slots=True)
class OpenedEngine:
    """An engine, ready to capture.

    Attributes:
        engine: A ``vllm.LLM``.
        sampling: A ``vllm.SamplingParams``.
        version: Of vLLM.
        dtype: Of the model's weights, as torch names it: ``bfloat16``.
    """

    engine: Engine
    sampling: Sampling
    version: str
    dtype: str


class OpenEngine(Protocol):
    """Makes the engine. It is given from outside: this package imports vLLM in one place only."""

    def __call__(
        self, model: str, options: dict[str, object], sampling: dict[str, object]
    ) -> OpenedEngine:
        """Open ``vllm.LLM(model, **options)`` and make ``vllm.SamplingParams(**sampling)``."""


def capture_dataset(
    open_engine: OpenEngine,
    task: CaptureTask,
    *,
    after_batch: Callable[[int], None] | None = None,
) -> FeatureCache:
    """Fill a cache with responses to the prompts of a data set; what is there is skipped.

    Args:
        open_engine: Makes the engine.
        task: What to capture.
        after_batch: Called with the number of responses that have just been stored.

    Raises:
        LabelError: The data set cannot be read.
        FeatureCacheError: The folder holds features of other settings.
        CaptureError: The states that came are not those of the responses.
    """
    prompts = list(load_prompts(task.dataset, task.path, limit=task.limit))
    config = AutoConfig.from_pretrained(task.model)
    hidden_size = int(config.get_text_config().hidden_size)
    options = engine_options(task.cache, hidden_size)
    opened = open_engine(task.model, options, asdict(task.sampling))
    template = opened.engine.get_tokenizer().chat_template
    settings = sampling_settings(
        opened.sampling,
        model=task.model,
        chat_template=template if task.plan.chat else None,
        dtype=opened.dtype,
        engine=f"vllm {opened.version}",
    )
    cache = FeatureCache.create(
        task.cache, CacheSpec(hidden_size, dtype=task.dtype, settings=settings)
    )
    capture(opened.engine, opened.sampling, prompts, cache, task.plan, after_batch=after_batch)
    return cache
