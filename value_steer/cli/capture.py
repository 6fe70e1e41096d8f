"""``value-steer capture``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from value_steer.cli.model import load_model, load_tokenizer, model_digest, read_model
from value_steer.cli.progress import counter
from value_steer.features import CacheSpec, FeatureCache
from value_steer.features.cache import Origin
from value_steer.features.capture import CapturePlan, capture, engine_options, sampling_settings
from value_steer.features.engine import prompt_tokens
from value_steer.features.prefill import PrefillSampling, mismatch, prefill
from value_steer.features.space import require_space
from value_steer.labels.datasets import load_prompts
from value_steer.labels.errors import BadRowError, LabelError

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.features import Prompt
    from value_steer.features.cache import Capture
    from value_steer.features.engine import Tokenizer
    from value_steer.features.ray_map import EngineFactory


def run(options: Namespace) -> int:
    """Sample responses and keep what ``lm_head`` read; what is there already is skipped."""
    prompts = _prompts(options)
    capturing = _by_vllm if options.engine == "vllm" else _by_transformers
    added = capturing(options, prompts)
    cache = FeatureCache.open(options.out)
    sys.stdout.write(
        f"{added} responses added to {len(prompts)} prompts; {len(cache)} in {options.out}\n"
    )
    if options.mismatch and options.engine == "vllm":
        model = load_model(options.model, getattr(torch, options.dtype))
        sys.stdout.write(f"{mismatch(model, islice(cache, options.mismatch))}\n")
    return 0


def _prompts(options: Namespace) -> list[Prompt]:
    """All of them, so that a bad row is found before the first token is generated."""
    bad: list[BadRowError] = []
    prompts = list(
        load_prompts(
            options.dataset,
            options.prompts,
            limit=options.limit,
            on_bad_row=bad.append if options.skip_bad else None,
        )
    )
    if bad:
        told = f"{len(bad)} rows are left out; the first: {bad[0]}"
        sys.stderr.write(f"value-steer capture: warning: {told}\n")
    if not prompts:
        msg = f"{options.prompts} gives no prompts"
        raise LabelError(msg)
    return prompts


def _by_vllm(options: Namespace, prompts: list[Prompt]) -> int:
    vllm_engine = import_module("value_steer.cli.vllm_engine")
    hidden_size = read_model(options.model).hidden_size
    tokenizer = load_tokenizer(options.model)
    prompt_tokens(tokenizer, prompts[0], chat=not options.raw)  # a missing template is told now
    spec = _spec(options, hidden_size, tokenizer, f"vllm {vllm_engine.VERSION}")
    make_engine: EngineFactory = vllm_engine.EngineFactory(
        str(options.model),
        {"dtype": options.dtype, **options.llm, **engine_options(options.out, hidden_size)},
        asdict(_sampling(options)),
    )
    with counter("captured", len(prompts) * options.samples) as count:
        if options.replicas > 1:
            return _on_replicas(make_engine, options, prompts, spec)
        cache = _cache(options, prompts, spec)  # before the engine takes its time
        engine, sampling = make_engine()
        return capture(engine, sampling, prompts, cache, _plan(options), after_batch=count)


def _on_replicas(
    make_engine: EngineFactory, options: Namespace, prompts: list[Prompt], spec: CacheSpec
) -> int:
    ray_map = import_module("value_steer.features.ray_map")
    replicas = ray_map.Replicas(
        options.replicas, options.cpus_per_replica, options.gpus_per_replica
    )
    cache = _cache(options, prompts, spec)
    done = ray_map.capture_on_replicas(make_engine, prompts, cache, _plan(options), replicas)
    return len(done) - len(cache)


def _by_transformers(options: Namespace, prompts: list[Prompt]) -> int:
    tokenizer = load_tokenizer(options.model)
    sampling = PrefillSampling(
        options.max_tokens, options.temperature, options.top_p, options.top_k, options.min_p
    )
    hidden_size = read_model(options.model).hidden_size
    spec = _spec(options, hidden_size, tokenizer, f"transformers {version('transformers')}")
    cache = _cache(options, prompts, spec)
    model = load_model(options.model, getattr(torch, options.dtype))
    if options.seed is not None:
        torch.manual_seed(options.seed)
    with counter("captured", len(prompts) * options.samples) as count:
        return prefill(
            model, tokenizer, sampling, prompts, cache, _plan(options), after_batch=count
        )


def _cache(options: Namespace, prompts: list[Prompt], spec: CacheSpec) -> FeatureCache:
    """The cache to fill, on a disk that holds the longest responses that are still to come."""
    cache = FeatureCache.create(options.out, spec)
    if not options.any_disk:
        wanted = len(prompts) * options.samples - len(cache)
        require_space(cache, wanted, options.max_tokens)
    return cache


def _spec(options: Namespace, hidden_size: int, tokenizer: Tokenizer, engine: str) -> CacheSpec:
    settings = sampling_settings(
        _sampling(options),
        model=str(options.model),
        chat_template=None if options.raw else tokenizer.chat_template,
        dtype=options.dtype,
        engine=engine,
    )
    kind: Capture = "decode" if options.engine == "vllm" else "prefill"
    origin = Origin(
        model_files=model_digest(options.model),
        seed="none" if options.seed is None else str(options.seed),
        engine_arguments=json.dumps(options.llm, sort_keys=True),
    )
    return CacheSpec(hidden_size, options.dtype, kind, settings, origin)


def _plan(options: Namespace) -> CapturePlan:
    return CapturePlan(options.samples, options.batch, chat=not options.raw, seed=options.seed)


@dataclass(slots=True)
class _Sampling:
    """How both engines sample, in vLLM's names."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_tokens: int | None
    n: int = 1
    seed: int | None = None
    extra_args: dict[str, Any] | None = None


def _sampling(options: Namespace) -> _Sampling:
    return _Sampling(
        options.temperature, options.top_p, options.top_k, options.min_p, options.max_tokens
    )
