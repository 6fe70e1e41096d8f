"""What the capturing worker keeps, on the real engine, against one teacher-forced pass."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from compat.behaviour import tiny_models
from compat.behaviour.engines import ONE_THREAD
from value_steer.features import FeatureCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from value_steer.features import ResponseFeatures

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here"
    ),
    # Of transformers and of what it imports.
    pytest.mark.filterwarnings("default"),
]

ROOT = Path(__file__).parents[2]
ROOMY = 16_384
TIGHT = 544
CHUNKED = {"max_num_batched_tokens": 64, "max_num_seqs": 5, "max_model_len": 512}
SAMPLED = {"temperature": 1.0, "max_tokens": 60, "top_p": 0.9}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Mistral."""
    return tiny_models.build("mistral", tmp_path_factory.mktemp("model"))


@dataclass(frozen=True)
class Captured:
    """A cache that an engine filled, and what it said."""

    features: list[ResponseFeatures]
    added: int
    again: int
    preemptions: int


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Callable[..., Captured]:
    """Capture in an engine of its own."""

    def capture(prompts: dict[str, str], **task: Any) -> Captured:
        body = {
            "model": str(model),
            "folder": str(tmp_path),
            "prompts": prompts,
            "options": CHUNKED,
            "cache_tokens": ROOMY,
            "sampling": SAMPLED,
            "plan": {"chat": False, "seed": None},  # the CPU has no seeds with chunked prefill
            **task,
        }
        (tmp_path / "task.json").write_text(json.dumps(body), encoding="utf-8")
        with (tmp_path / "engine.log").open("wb") as log:
            subprocess.run(
                [
                    *(sys.executable, "-m", "tests.features.capture_main"),
                    *(str(tmp_path / "task.json"), str(tmp_path / "result.json")),
                ],
                env={**os.environ, **_environment()},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                check=False,
                timeout=400,
            )
        result = tmp_path / "result.json"
        assert result.exists(), (tmp_path / "engine.log").read_text(errors="replace")
        said = json.loads(result.read_text(encoding="utf-8"))
        return Captured(list(FeatureCache.open(tmp_path / "cache")), **said)

    return capture


def _environment() -> dict[str, str]:
    return {
        **ONE_THREAD,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def _prompts(count: int) -> dict[str, str]:
    """Of 2 to 121 words, so that some need two chunks."""
    return {
        f"p{i}": " ".join(f"w{4 + (7 * i + 3 * j) % 500:03}" for j in range(2 + (17 * i) % 120))
        for i in range(count)
    }


def _teacher_forced(model: Path, features: list[ResponseFeatures]) -> list[torch.Tensor]:
    """The states of each response, the prior first, as ``transformers`` computes them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    states = []
    for one in features:
        prompt = tokenizer.encode(one.response.prompt)
        ids = torch.tensor([[*prompt, *one.tokens.tolist()]])
        with torch.inference_mode():
            hidden = network.model(ids).last_hidden_state[0]
        states.append(hidden[len(prompt) - 1 :])
    return states


def _furthest(model: Path, features: list[ResponseFeatures]) -> float:
    """The largest difference of any number of any state."""
    expected = _teacher_forced(model, features)
    differences = [
        (torch.cat([one.prior[None], one.hidden]) - states).abs().max().item()
        for one, states in zip(features, expected, strict=True)
    ]
    return max(differences)


def test_every_state_is_the_one_of_a_teacher_forced_pass(
    model: Path, run: Callable[..., Captured]
) -> None:
    """More requests than seats, chunked prefill, several samples, two shards."""
    captured = run(_prompts(12), plan={"chat": False, "seed": None, "samples": 2, "batch": 16})

    assert (captured.added, captured.again, len(captured.features)) == (24, 0, 24)
    lengths = [len(one.tokens) for one in captured.features]
    assert max(lengths) == 60
    assert _furthest(model, captured.features) < 1e-3
    first, second = captured.features[:2]
    assert first.response.key.prompt_id == second.response.key.prompt_id
    assert first.tokens.tolist() != second.tokens.tolist()


def test_preempted_requests_are_captured_once_and_whole(
    model: Path, run: Callable[..., Captured]
) -> None:
    """With a cache too small for the batch, positions are computed twice and kept once."""
    captured = run(_prompts(10), cache_tokens=TIGHT, sampling={**SAMPLED, "max_tokens": 120})

    assert captured.preemptions > 0
    assert captured.added == 10
    assert _furthest(model, captured.features) < 1e-3


def test_a_full_sequence_has_the_state_of_its_last_token(
    model: Path, run: Callable[..., Captured]
) -> None:
    """The state after the last token is there at the length limit of the model, too."""
    options = {"max_num_seqs": 5, "max_model_len": 64}
    sampling = {**SAMPLED, "max_tokens": 62, "ignore_eos": True}
    captured = run({"a": "w007 w009"}, options=options, sampling=sampling, plan={"chat": True})

    (one,) = captured.features
    assert (len(one.tokens), one.response.finish) == (62, "length")
    assert _furthest(model, captured.features) < 1e-3


def test_two_replicas_share_the_prompts(model: Path, tmp_path: Path) -> None:
    """By the command, each replica with an engine of its own; a second run makes nothing."""
    pytest.importorskip("ray")
    lines = [json.dumps({"prompt": text}) for text in _prompts(12).values()]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    engine = {"enforce_eager": True, "max_num_seqs": 4, "max_model_len": 256}
    command = [
        *(sys.executable, "-m", "value_steer.cli", "capture", "prompts.jsonl", "--raw"),
        *("--model", str(model), "--dtype", "float32", "--llm", json.dumps(engine)),
        *("--samples", "2", "--max-tokens", "40", "--batch", "4", "--replicas", "2"),
        *("--mismatch", "24"),
    ]

    first, again = (
        subprocess.run(
            command,
            env={**os.environ, **_environment()},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        for _ in range(2)
    )

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    said = first.stdout.splitlines()
    assert "24 responses added to 12 prompts; 24 in features" in said
    assert "0 responses added to 12 prompts; 24 in features" in again.stdout.splitlines()
    features = list(FeatureCache.open(tmp_path / "features"))
    assert len({one.response.key for one in features}) == len(features) == 24
    assert _furthest(model, features) < 1e-3
    (mismatch,) = (line for line in said if line.startswith("prefill against decode"))
    assert float(mismatch.rpartition("largest difference ")[2]) < 1e-3
