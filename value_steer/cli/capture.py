"""``value-steer capture``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from value_steer.cli.model import read_model
from value_steer.cli.progress import counter
from value_steer.features import CacheSpec, FeatureCache
from value_steer.features.capture import CapturePlan, capture, sampling_settings
from value_steer.features.prefill import PrefillSampling, prefill
from value_steer.labels.datasets import load_prompts

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.features import Prompt
    from value_steer.features.cache import Capture
    from value_steer.value_probe import SettingsFingerprint


def run(options: Namespace) -> int:
    """Sample responses and keep what ``lm_head`` read; what is there already is skipped."""
    prompts = list(load_prompts(options.dataset, options.prompts, limit=options.limit))
    capturing = _by_vllm if options.engine == "vllm" else _by_transformers
    added = capturing(options, prompts)
    total = len(FeatureCache.open(options.out))
    sys.stdout.write(
        f"{added} responses added to {len(prompts)} prompts; {total} in {options.out}\n"
    )
    return 0


def _by_vllm(options: Namespace, prompts: list[Prompt]) -> int:
    hidden_size = read_model(options.model).hidden_size
    vllm_engine = import_module("value_steer.cli.vllm_engine")
    booted = vllm_engine.boot(options, hidden_size)
    template = None if options.raw else booted.engine.get_tokenizer().chat_template
    settings = _settings(options, template, f"vllm {vllm_engine.VERSION}")
    cache = _cache(options, hidden_size, settings)
    with counter("captured", len(prompts) * options.samples) as count:
        return capture(
            booted.engine, booted.sampling, prompts, cache, _plan(options), after_batch=count
        )


def _by_transformers(options: Namespace, prompts: list[Prompt]) -> int:
    hidden_size = read_model(options.model).hidden_size
    transformers = import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    dtype = getattr(torch, options.dtype)
    model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).eval()
    sampling = PrefillSampling(options.max_tokens, options.temperature, options.top_p)
    template = None if options.raw else tokenizer.chat_template
    settings = _settings(options, template, f"transformers {version('transformers')}")
    torch.manual_seed(options.seed)
    return prefill(
        model, tokenizer, sampling, prompts, _cache(options, hidden_size, settings), _plan(options)
    )


def _cache(options: Namespace, hidden_size: int, settings: SettingsFingerprint) -> FeatureCache:
    kind: Capture = "decode" if options.engine == "vllm" else "prefill"
    return FeatureCache.create(options.out, CacheSpec(hidden_size, options.dtype, kind, settings))


def _plan(options: Namespace) -> CapturePlan:
    return CapturePlan(options.samples, options.batch, chat=not options.raw, seed=options.seed)


@dataclass(slots=True)
class _Sampling:
    """How both engines sample, in vLLM's names."""

    temperature: float
    top_p: float
    max_tokens: int | None
    top_k: int = 0
    min_p: float = 0.0
    n: int = 1
    seed: int | None = None
    extra_args: dict[str, Any] | None = None


def _settings(options: Namespace, template: str | None, engine: str) -> SettingsFingerprint:
    return sampling_settings(
        _Sampling(options.temperature, options.top_p, options.max_tokens),
        model=str(options.model),
        chat_template=template,
        dtype=options.dtype,
        engine=engine,
    )
