"""Training reads a cache in padded batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.features.samples import HIDDEN, features
from value_steer.features import (
    CacheSpec,
    FeatureCache,
    FeatureDataset,
    ResponseKey,
    collate,
    loader,
)
from value_steer.features.errors import FeatureCacheError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Six responses of three prompts in two shards, of the lengths 1 to 6."""
    cache = FeatureCache.create(tmp_path, CacheSpec(HIDDEN))
    rows = [features(f"p{i % 3}", i + 1, sample=i // 3, label=i / 10) for i in range(6)]
    cache.add(rows[:4])
    cache.add(rows[4:])
    return cache


def test_a_batch_is_padded_and_masked(cache: FeatureCache) -> None:
    """States where the mask is true, zeros elsewhere."""
    dataset = FeatureDataset(cache)

    batch = collate([dataset[5], dataset[1]])

    assert batch.hidden.shape == (2, 6, HIDDEN)
    assert batch.mask.sum(1).tolist() == [6, 2]
    assert batch.labels.tolist() == pytest.approx([0.5, 0.1])
    assert batch.keys == (ResponseKey("p2", 1), ResponseKey("p1", 0))
    assert torch.equal(batch.hidden[1, :2], dataset[1].features.hidden)
    assert not batch.hidden[1, 2:].any()
    assert torch.equal(batch.prior[0], dataset[5].features.prior)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_every_response_once(cache: FeatureCache, workers: int) -> None:
    """In this process and from another one."""
    batches = list(loader(FeatureDataset(cache), 4, workers=workers))

    assert [len(batch.labels) for batch in batches] == [4, 2]
    keys = [key for batch in batches for key in batch.keys]
    assert keys == [ResponseKey(f"p{i % 3}", i // 3) for i in range(6)]


def test_shuffling_is_anew_in_every_epoch_and_repeatable(cache: FeatureCache) -> None:
    """The same seed gives the same two epochs."""

    def epochs() -> list[list[float]]:
        batches = loader(FeatureDataset(cache), 6, shuffle_seed=3)
        return [next(iter(batches)).labels.tolist() for _ in range(2)]

    first, second = epochs()

    assert first != second
    assert sorted(first) == sorted(second)
    assert epochs() == [first, second]


def test_a_split_is_by_prompt(cache: FeatureCache) -> None:
    """All samples of a prompt fall on one side."""
    dataset = FeatureDataset(cache, keep=lambda prompt_id: prompt_id != "p0")

    assert [dataset[i].features.response.key.prompt_id for i in range(len(dataset))] == [
        "p1",
        "p2",
        "p1",
        "p2",
    ]


def test_labels_given_take_the_place_of_those_stored(cache: FeatureCache) -> None:
    """A second judge needs no second capture."""
    labels = dict.fromkeys(cache.keys(), 1.0)

    assert {FeatureDataset(cache, labels)[i].label for i in range(6)} == {1.0}


def test_a_missing_label_is_an_error(cache: FeatureCache) -> None:
    """It says which, and how many; so does a split that keeps nothing."""
    with pytest.raises(FeatureCacheError, match=r"5 responses without a label.*p1"):
        FeatureDataset(cache, {ResponseKey("p0", 0): 1.0})
    with pytest.raises(FeatureCacheError, match="no response of its 6 is kept"):
        FeatureDataset(cache, keep=lambda _: False)
