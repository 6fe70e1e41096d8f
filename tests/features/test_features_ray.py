"""Two replicas on this machine share the work; every response comes back once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("ray")

import ray

from tests.features.fake_engine import HIDDEN, FakeEngine, Sampling
from value_steer.features import CacheSpec, FeatureCache, Prompt, ResponseKey
from value_steer.features.capture import CapturePlan, capture
from value_steer.features.ray_map import Replicas, capture_on_replicas, score_on_replicas
from value_steer.features.scoring import score
from value_steer.value_probe import HeadCard, Polarity, ValueHead, save_value_head

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of ray and of what it imports.
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
PROMPTS = [Prompt(f"p{i}", f"question {i}", history=("a", "b")[: i % 3]) for i in range(12)]
PLAN = CapturePlan(samples=2, batch=4)


class Factory:
    """Makes a fake engine and leaves a file that says in which process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self) -> tuple[FakeEngine, Sampling]:
        """One per replica."""
        (self._folder / f"replica-{os.getpid()}").touch()
        return FakeEngine(), Sampling()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two CPUs of this machine."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_every_response_comes_back_once(tmp_path: Path) -> None:
    """And is the one that a single engine gives; what is there is not made again."""
    alone = FeatureCache.create(tmp_path / "alone", CacheSpec(HIDDEN))
    capture(FakeEngine(), Sampling(), PROMPTS, alone, PLAN)
    cache = FeatureCache.create(tmp_path / "cache", CacheSpec(HIDDEN))
    capture(FakeEngine(), Sampling(), PROMPTS[:3], cache, PLAN)

    done = capture_on_replicas(Factory(tmp_path), PROMPTS, cache, PLAN, Replicas(2))

    assert len(list(tmp_path.glob("replica-*"))) == 2
    assert len(done) == 24
    assert done.keys() == {ResponseKey(f"p{i}", s) for i in range(12) for s in range(2)}
    texts = {one.response.key: one.response for one in done}
    assert texts == {one.response.key: one.response for one in alone}
    again = capture_on_replicas(Factory(tmp_path), PROMPTS, done, PLAN, Replicas(2))
    assert again.shards == done.shards


@pytest.mark.usefixtures("cluster")
def test_scores_are_those_of_one_machine(tmp_path: Path) -> None:
    """Whatever the order."""
    cache = FeatureCache.create(tmp_path / "cache", CacheSpec(HIDDEN))
    capture(FakeEngine(), Sampling(), PROMPTS, cache, PLAN)
    head = ValueHead(HIDDEN)
    head.card = HeadCard(HIDDEN, scores=Polarity.P_GOOD)
    save_value_head(tmp_path / "head.safetensors", head, head.card)
    labels = {one.response.key: one.response.key.sample / 2 for one in cache}

    scored = list(score_on_replicas(tmp_path / "head.safetensors", cache, Replicas(2), labels))

    expected = {(one.prompt_id, one.label): one for one in score(head, cache, labels)}
    assert len(scored) == len(expected) == 24
    for one in scored:
        alone = expected[one.prompt_id, one.label]
        assert one.values.tolist() == pytest.approx(alone.values.tolist())
        assert one.prior == pytest.approx(alone.prior)
        assert one.response == alone.response
