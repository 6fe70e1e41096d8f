"""Scores of a cache are trajectories that calibration can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.features.samples import HIDDEN, features
from value_steer.features import CacheSpec, FeatureCache, ResponseKey
from value_steer.features.errors import FeatureCacheError
from value_steer.features.scoring import write_scores
from value_steer.trajectories import read_header, read_trajectories
from value_steer.value_probe import HeadCard, Polarity, SettingsFingerprint, ValueHead

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Three responses of two prompts, one of them empty."""
    spec = CacheSpec(HIDDEN, settings=SettingsFingerprint(model="tiny"))
    cache = FeatureCache.create(tmp_path / "cache", spec)
    rows = [("a", 3, 0, 1.0), ("a", 0, 1, 0.0), ("b", 2, 0, 0.25)]
    cache.add([features(p, length, sample=s, label=label) for p, length, s, label in rows])
    return cache


def _head(scores: Polarity | None) -> ValueHead:
    head = ValueHead(HIDDEN)
    head.card = HeadCard(HIDDEN, scores=scores)
    return head


@pytest.mark.parametrize("scores", list(Polarity))
def test_the_values_are_the_heads(cache: FeatureCache, tmp_path: Path, scores: Polarity) -> None:
    """After every token and before the first; the label is turned to the head's polarity."""
    head = _head(scores)
    write_scores(tmp_path / "t.jsonl", head, cache)

    first, second = read_trajectories(tmp_path / "t.jsonl")

    with torch.inference_mode():
        expected = head.p(next(iter(cache)).hidden).numpy()
    assert np.allclose(first.values, expected, atol=1e-6)
    assert first.prior == pytest.approx(head.p(next(iter(cache)).prior).item())
    good = [1.0, 0.25] if scores is Polarity.P_GOOD else [0.0, 0.75]
    assert [first.label, second.label] == good
    header = read_header(tmp_path / "t.jsonl")
    assert header.scores is scores
    assert header.settings == SettingsFingerprint(model="tiny")


def test_other_labels_and_some_prompts(cache: FeatureCache, tmp_path: Path) -> None:
    """Calibration uses prompts that training did not."""
    labels = {ResponseKey("b", 0): 1.0}

    write_scores(
        tmp_path / "t", _head(Polarity.P_GOOD), cache, labels, keep=lambda name: name == "b"
    )

    (one,) = read_trajectories(tmp_path / "t")
    assert (one.prompt_id, one.label, one.response) == ("b", 1.0, "réponse")


def test_what_is_missing_is_named(cache: FeatureCache, tmp_path: Path) -> None:
    """A label, or what the head scores."""
    with pytest.raises(FeatureCacheError, match="no label"):
        write_scores(tmp_path / "t", _head(Polarity.P_GOOD), cache, {})
    with pytest.raises(FeatureCacheError, match="sidecar"):
        write_scores(tmp_path / "t", _head(None), cache)
    assert not (tmp_path / "t").exists()
