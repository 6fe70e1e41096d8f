"""The driver fills a cache batch by batch, goes on where it stopped, and checks what it gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.features.fake_engine import HIDDEN, FakeEngine, Sampling
from value_steer.errors import DataError
from value_steer.features import CacheSpec, FeatureCache, Prompt, ResponseKey
from value_steer.features.capture import (
    CapturePlan,
    capture,
    engine_options,
    sampling_settings,
)
from value_steer.features.errors import CaptureError
from value_steer.value_probe import load_value_head

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = [Prompt(f"p{i}", f"question {i}", reference=str(i)) for i in range(5)]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """An empty one."""
    return FeatureCache.create(tmp_path, CacheSpec(HIDDEN))


def test_every_sample_of_every_prompt_is_stored_with_its_words(cache: FeatureCache) -> None:
    """Batches become shards, of up to so many responses."""
    stored: list[int] = []

    added = capture(
        FakeEngine(),
        Sampling(),
        PROMPTS,
        cache,
        CapturePlan(samples=2, batch=4),
        after_batch=stored.append,
    )

    assert (added, stored, [s.responses for s in cache.shards]) == (10, [4, 4, 2], [4, 4, 2])
    assert cache.keys() == {ResponseKey(p.id, s) for p in PROMPTS for s in range(2)}
    one = list(FeatureCache.open(cache.folder))[3]
    assert one.response.key == ResponseKey("p1", 1)
    assert (one.response.prompt, one.response.reference) == ("question 1", "1")
    assert one.response.text == "".join(map(chr, one.tokens.tolist()))
    # A state of the fake engine counts the tokens up to it: "[user question 1]" are 17.
    assert one.prior[1] == 17
    assert one.hidden[:, 1].tolist() == [18 + i for i in range(len(one.tokens))]


def test_a_run_that_was_cut_short_goes_on(cache: FeatureCache, tmp_path: Path) -> None:
    """With what an uninterrupted one gives, whatever its batches were."""
    whole = FeatureCache.create(tmp_path / "whole", CacheSpec(HIDDEN))
    capture(FakeEngine(), Sampling(), PROMPTS, whole)

    capture(FakeEngine(), Sampling(), PROMPTS[:2], cache, CapturePlan(batch=1))
    engine = FakeEngine()
    added = capture(engine, Sampling(), PROMPTS, cache)

    assert added == len(engine.asked) == 3
    both = zip(whole, cache, strict=True)
    assert all(torch.equal(a.hidden, b.hidden) and a.response == b.response for a, b in both)


def test_seeds_differ_between_samples_and_follow_the_plan(cache: FeatureCache) -> None:
    """``None`` leaves the drawing to the engine."""
    engine = FakeEngine()
    capture(engine, Sampling(), PROMPTS[:2], cache, CapturePlan(samples=3))
    seeds = [seed for _, seed in engine.asked]
    assert len(set(seeds)) == 6

    capture(engine, Sampling(), [Prompt("x", "x")], cache, CapturePlan(seed=None))
    assert engine.asked[-1][1] is None


def test_raw_prompts_begin_as_texts_do(cache: FeatureCache) -> None:
    """The template of a chat brings its own beginning."""
    engine = FakeEngine()
    capture(engine, Sampling(), [Prompt("a", "x")], cache, CapturePlan(chat=False))
    capture(engine, Sampling(), [Prompt("b", "x")], cache, CapturePlan(chat=True))

    assert ["".join(map(chr, ids)) for ids, _ in engine.asked] == ["\x01x", "[user x]"]


def test_a_conversation_goes_through_the_template_whole(cache: FeatureCache) -> None:
    """Turn by turn; raw, they are lines."""
    engine = FakeEngine()
    prompt = Prompt("a", "c", history=("a", "b"))
    capture(engine, Sampling(), [prompt], cache)
    capture(engine, Sampling(), [replace(prompt, id="b")], cache, CapturePlan(chat=False))

    texts = ["".join(map(chr, ids)) for ids, _ in engine.asked]
    assert texts == ["[user a][assistant b][user c]", "\x01a\nb\nc"]
    (first, _) = cache
    assert first.response.prompt_tokens == tuple(engine.asked[0][0])


def test_states_of_other_tokens_are_refused(cache: FeatureCache) -> None:
    """Nothing is entered."""
    with pytest.raises(CaptureError, match="not those of the responses"):
        capture(FakeEngine(lies=True), Sampling(max_tokens=9), PROMPTS, cache)

    assert len(FeatureCache.open(cache.folder)) == 0


def test_a_cache_of_another_hidden_size_is_refused(tmp_path: Path) -> None:
    """It would be found out at training otherwise."""
    cache = FeatureCache.create(tmp_path, CacheSpec(HIDDEN + 1))

    with pytest.raises(CaptureError, match="size 8"):
        capture(FakeEngine(), Sampling(), PROMPTS, cache)


@pytest.mark.parametrize(
    ("sampling", "samples", "match"),
    [
        (Sampling(n=2), 1, "n is 2"),
        (Sampling(extra_args={"vfd_threshold": 0.3}), 1, "vfd_threshold"),
        (Sampling(temperature=0.0), 2, "greedy"),
    ],
)
def test_what_cannot_be_captured_is_refused(
    cache: FeatureCache, sampling: Sampling, samples: int, match: str
) -> None:
    """Before anything runs."""
    engine = FakeEngine()
    with pytest.raises(CaptureError, match=match):
        capture(engine, sampling, PROMPTS, cache, CapturePlan(samples=samples))

    assert engine.asked == []


def test_two_prompts_of_one_id_are_refused(cache: FeatureCache) -> None:
    """They would be taken for one."""
    with pytest.raises(DataError, match="unique"):
        capture(FakeEngine(), Sampling(), [PROMPTS[0], PROMPTS[0]], cache)


def test_the_callers_sampling_is_left_alone(cache: FeatureCache) -> None:
    """Every request has a copy."""
    sampling = Sampling(extra_args={"other": 1})
    capture(FakeEngine(), sampling, PROMPTS, cache)

    assert (sampling.seed, sampling.extra_args) == (None, {"other": 1})


def test_the_engine_gets_a_head_that_never_objects(tmp_path: Path) -> None:
    """It gives one half everywhere, and the threshold is above that."""
    options = engine_options(tmp_path / "new", 16)

    additional = options["additional_config"]
    assert isinstance(additional, dict)
    vfd = additional["vfd"]
    head = load_value_head(vfd["value_head_path"], hidden_size=16)
    assert head.p(torch.randn(3, 16)).tolist() == [0.5] * 3
    assert vfd["threshold"] > 0.5


def test_settings_are_named_as_calibration_names_them() -> None:
    """Off is 0 for top_k, and a template is known by its checksum."""
    settings = sampling_settings(
        Sampling(), model="tiny", chat_template=None, dtype="bfloat16", engine="vllm 0.28.0"
    )
    templated = sampling_settings(
        Sampling(), model="tiny", chat_template="x", dtype="bfloat16", engine="vllm 0.28.0"
    )

    assert (settings.top_k, settings.top_p, settings.chat_template) == (0, 0.9, "none")
    assert len(str(templated.chat_template)) == 64


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"text": "other"}, "prompt: 'q0' → 'other'"),
        ({"reference": "9"}, "reference: .* → '9'"),
        ({"history": ("a", "b")}, "prompt's tokens: "),
    ],
)
def test_an_answer_to_another_prompt_is_not_reused(
    cache: FeatureCache, changed: dict[str, Any], words: str
) -> None:
    """The id is the same, the prompt is not."""
    first = Prompt("a", "q0", "1")
    capture(FakeEngine(), Sampling(), [first], cache)
    assert capture(FakeEngine(), Sampling(), [first], cache) == 0

    with pytest.raises(DataError, match=f"another prompt of the id 'a': .*{words}"):
        capture(FakeEngine(), Sampling(), [replace(first, **changed)], cache)


@pytest.mark.parametrize(
    "wrong", [{"text": 7}, {"reference": 42}, {"id": 1}, {"history": ("a", None)}]
)
def test_a_prompt_is_text(wrong: dict[str, Any]) -> None:
    """Found before anything is generated."""
    with pytest.raises(DataError, match="must be text"):
        Prompt(**{"id": "a", "text": "b", **wrong})
