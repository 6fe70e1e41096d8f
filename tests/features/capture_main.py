"""Capture with a real engine in a process of its own: ``python -m tests.features.capture_main``.

Reads what to do from the JSON file named first and writes what happened to the one named second.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

from value_steer.features import CacheSpec, FeatureCache
from value_steer.features.capture import CapturePlan, capture, engine_options
from value_steer.features.records import Prompt

HIDDEN = 128


def main(task_file: Path, result_file: Path) -> None:
    """Boot the engine, capture, and say how often a request was preempted."""
    task = json.loads(task_file.read_text(encoding="utf-8"))
    folder = Path(task["folder"])
    block = max(
        16, *(getattr(m, "base", m) for m in CPUAttentionBackend.get_supported_kernel_block_sizes())
    )
    engine = LLM(
        model=task["model"],
        dtype="float32",
        enforce_eager=True,
        seed=0,
        block_size=block,
        disable_log_stats=False,
        num_gpu_blocks_override=task["cache_tokens"] // block,
        **task["options"],
        **engine_options(folder, HIDDEN),
    )
    cache = FeatureCache.create(folder / "cache", CacheSpec(HIDDEN))
    prompts = [Prompt(name, text) for name, text in task["prompts"].items()]
    plan = CapturePlan(**task["plan"])
    added = capture(engine, SamplingParams(**task["sampling"]), prompts, cache, plan)
    again = capture(engine, SamplingParams(**task["sampling"]), prompts, cache, plan)
    counts = [m.value for m in engine.get_metrics() if m.name == "vllm:num_preemptions"]
    result = {"added": added, "again": again, "preemptions": sum(counts)}
    result_file.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
