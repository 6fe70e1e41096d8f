"""What the command calls: a cache in, labels beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.features.fake_engine import HIDDEN, FakeEngine, Sampling
from value_steer.features import CacheSpec, FeatureCache, Prompt
from value_steer.features.capture import capture
from value_steer.labels.errors import LabelError
from value_steer.labels.run import LabelTask, label_folder
from value_steer.labels.store import read_labels

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = [Prompt(f"p{i}", f"q{i}", reference=str(i)) for i in range(3)]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """A response to each of three questions."""
    made = FeatureCache.create(tmp_path / "cache", CacheSpec(HIDDEN))
    capture(FakeEngine(), Sampling(), PROMPTS, made)
    return made


def test_a_folder_is_labelled(cache: FeatureCache) -> None:
    """Every response, with what they are on average."""
    summary = label_folder(LabelTask(cache.folder, "regex", pattern="[a-m]"))

    labels = read_labels(cache, "regex")
    assert (summary.name, summary.responses) == ("regex", 3)
    assert set(labels.values()) <= {0.0, 1.0}
    assert summary.mean == pytest.approx(sum(label or 0.0 for label in labels.values()) / 3)


def test_every_verifier_of_text(cache: FeatureCache, tmp_path: Path) -> None:
    """A pattern that is bad, an exact answer, a column from a file."""
    rows = [{"prompt_id": p, "sample": s, "q": 0.5} for p, s in sorted(cache.keys())]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    bad = label_folder(LabelTask(cache.folder, "regex", pattern=".", pattern_is_bad=True))
    exact = label_folder(LabelTask(cache.folder, "exact"))
    column = label_folder(
        LabelTask(cache.folder, "column", file=tmp_path / "q.jsonl", column="q", batch=2)
    )

    assert (bad.mean, exact.mean, column.mean) == (0.0, 0.0, 0.5)


def test_what_a_verifier_needs_is_said(cache: FeatureCache) -> None:
    """A URL, a pattern, a file."""
    for by, needs in (("safety", "URL"), ("regex", "pattern"), ("column", "file")):
        with pytest.raises(LabelError, match=needs):
            label_folder(LabelTask(cache.folder, by))  # type: ignore[arg-type]


def test_nothing_to_label_is_said(tmp_path: Path) -> None:
    """With what to do first."""
    empty = FeatureCache.create(tmp_path, CacheSpec(HIDDEN))

    with pytest.raises(LabelError, match="capture some first"):
        label_folder(LabelTask(empty.folder, "exact"))
