"""Teacher-forced states: right positions, comparable with captured ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers

from compat.behaviour import tiny_models
from value_steer.features import CacheSpec, FeatureCache, Prompt, Response, ResponseKey
from value_steer.features.capture import CapturePlan
from value_steer.features.errors import CaptureError
from value_steer.features.prefill import (
    PrefillSampling,
    mismatch,
    prefill,
    prefill_responses,
    teacher_forced,
)

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = [Prompt("a", "w010 w011"), Prompt("b", "w300")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tiny random Mistral."""
    return tiny_models.build("mistral", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """It, for evaluation."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    """Its tokenizer."""
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """An empty one."""
    return FeatureCache.create(tmp_path, CacheSpec(tiny_models.HIDDEN, capture="prefill"))


def test_a_state_predicts_the_next_token(model: Any) -> None:
    """Through ``lm_head`` each state gives the logits of a pass over what precedes it."""
    prompt, tokens = [10, 11, 12], [20, 21]

    prior, hidden = teacher_forced(model, prompt, tokens)

    for state, sequence in (
        (prior, prompt),
        (hidden[0], [*prompt, 20]),
        (hidden[1], [*prompt, *tokens]),
    ):
        with torch.inference_mode():
            expected = model(torch.tensor([sequence])).logits[0, -1]
            assert torch.allclose(model.get_output_embeddings()(state), expected, atol=1e-5)


def test_a_cache_is_filled_and_gone_on_with(
    model: Any, tokenizer: Any, cache: FeatureCache
) -> None:
    """Greedy and sampled; what is there is skipped."""
    plan, greedy = CapturePlan(), PrefillSampling(max_tokens=5, temperature=0.0)
    assert prefill(model, tokenizer, greedy, PROMPTS[:1], cache, plan) == 1
    sampled = PrefillSampling(max_tokens=5, top_p=0.9)
    plan = replace(plan, samples=2, batch=2)
    assert prefill(model, tokenizer, sampled, PROMPTS, cache, plan) == 3

    responses = list(cache)

    assert [len(one.tokens) <= 5 for one in responses] == [True] * 4
    assert {one.response.finish for one in responses} <= {"stop", "length"}
    assert responses[0].response.text.startswith("w")


def test_responses_that_are_there_already_keep_their_labels(
    model: Any, tokenizer: Any, cache: FeatureCache
) -> None:
    """Those of a data set; each once."""
    given = [Response(ResponseKey("a", i), "w010", f"w02{i} w030", label=i / 2) for i in range(3)]

    added = [
        prefill_responses(model, tokenizer, given[:some], cache, CapturePlan(batch=2))
        for some in (2, 3)
    ]

    assert added == [2, 1]
    assert [one.response.label for one in cache] == [0.0, 0.5, 1.0]
    assert [len(one.tokens) for one in cache] == [2, 2, 2]
    assert mismatch(model, list(cache)).max_abs < 1e-4


def test_what_is_equal_has_no_mismatch(model: Any, tokenizer: Any, cache: FeatureCache) -> None:
    """And what is changed has the mismatch of the change."""
    sampling = PrefillSampling(max_tokens=6, temperature=0.0)
    prefill(model, tokenizer, sampling, PROMPTS, cache, CapturePlan())
    captured = list(cache)

    none = mismatch(model, captured)
    some = mismatch(model, [replace(one, hidden=-one.hidden) for one in captured])

    assert none.tokens == sum(len(one.tokens) + 1 for one in captured)
    assert none.least_cosine > 0.9999
    assert none.max_abs < 1e-4
    assert some.least_cosine == pytest.approx(-1.0)
    assert "cosine" in str(some)
    with pytest.raises(CaptureError, match="no captured"):
        mismatch(model, [])


def test_a_model_that_bypasses_its_head_is_an_error(model: Any) -> None:
    """No state is made up."""

    class Bypassing:
        device = model.device
        generation_config = model.generation_config
        generate = model.generate

        def __call__(self, input_ids: torch.Tensor) -> object:
            return input_ids

        def get_output_embeddings(self) -> torch.nn.Module:
            return torch.nn.Linear(2, 2)

    with pytest.raises(CaptureError, match="lm_head"):
        teacher_forced(Bypassing(), [1], [2])
