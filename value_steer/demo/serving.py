"""Serving a list of prompts: on the real engine where it is installed, else plainly."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from value_steer.config import AbstainSettings, parse_settings
from value_steer.demo.errors import DemoError
from value_steer.demo.grammar import EOS
from value_steer.demo.options import Backend
from value_steer.operating_point import resolve_abstain_threshold, resolve_vfd_threshold
from value_steer.reference import Reference
from value_steer.threshold import NEVER, Threshold
from value_steer.value_probe import Polarity, load_value_head, oriented

if TYPE_CHECKING:
    from transformers import MistralForCausalLM

    from value_steer.config import VfdSettings
    from value_steer.demo.job import Job

_LOG_TAIL = 4000
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process boots faster
    "VLLM_NO_USAGE_STATS": "1",
}


def require(backend: Backend) -> None:
    """Check that what is to serve is there.

    Raises:
        DemoError: vLLM is to serve and not installed.
    """
    if backend is Backend.VLLM and Backend.installed() is not Backend.VLLM:
        msg = 'vLLM is not installed; pip install "value-steer[vllm]", or use the reference decoder'
        raise DemoError(msg)


def serve(job: Job, backend: Backend, model: MistralForCausalLM) -> list[list[int]]:
    """The response to every prompt of a job; ``model`` is what the job's folder holds."""
    return _on_the_engine(job) if backend is Backend.VLLM else _plainly(job, model)


def unsteered(job: Job, backend: Backend) -> Job:
    """The job that gives what the same seeds give without steering.

    vLLM draws alike whether or not its worker steers. The reference decoder draws several
    candidates at a time for value filtering, so there the filter runs and accepts everything.
    """
    if backend is Backend.VLLM:
        return replace(job, additional_config={})
    ((mode, section),) = job.additional_config.items()
    never = {"value_head_path": section["value_head_path"], "threshold": NEVER}
    if mode == "vfd":
        never["num_candidates"] = section["num_candidates"]
    return replace(job, additional_config={mode: never})


def _on_the_engine(job: Job) -> list[list[int]]:
    with tempfile.TemporaryDirectory() as folder:
        asked, answers, log = (Path(folder) / name for name in ("job", "answers", "log"))
        asked.write_text(job.to_json(), encoding="utf-8")
        with log.open("wb") as out:
            done = subprocess.run(
                [sys.executable, "-m", "value_steer.demo.generate", str(asked), str(answers)],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**_ENVIRONMENT, **os.environ},
                check=False,
            )
        if not answers.exists():
            tail = log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
            msg = f"vLLM ended with exit code {done.returncode}; the end of its log:\n{tail}"
            raise DemoError(msg)
        responses: list[list[int]] = json.loads(answers.read_text(encoding="utf-8"))
        return responses


def _plainly(job: Job, model: MistralForCausalLM) -> list[list[int]]:
    """Do as the engine does, one request at a time."""
    settings = parse_settings(job.additional_config)
    section = settings.abstain or settings.vfd
    if section is None:
        msg = "the reference decoder needs a mode; give additional_config a section"
        raise DemoError(msg)
    decoder = _reference(section, model, job.max_tokens)
    responses = []
    for prompt, seed in zip(job.prompts, job.seeds, strict=True):
        seeded = replace(decoder, generator=torch.Generator().manual_seed(seed))
        if isinstance(section, AbstainSettings):
            responses.append(seeded.abstain(prompt))
        else:
            responses.append(seeded.filter(prompt, section.num_candidates))
    return responses


def _reference(
    section: AbstainSettings | VfdSettings, model: MistralForCausalLM, max_tokens: int
) -> Reference:
    head = load_value_head(section.value_head_path)
    threshold: Threshold
    if isinstance(section, AbstainSettings):
        head = oriented(head, Polarity.P_GOOD).head
        threshold, never = resolve_abstain_threshold(section, head.card), -math.inf
    else:
        head = oriented(head, Polarity.P_UNDESIRABLE).head
        threshold, never = resolve_vfd_threshold(section, head.card), math.inf
    number = never if threshold == NEVER else float(threshold)
    return Reference(model, head, number, max_tokens, EOS, temperature=1.0)
