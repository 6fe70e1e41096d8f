"""What the commands call: a data set in, a cache with labels out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("datasets")
pytest.importorskip("transformers")

from tests.features.fake_engine import HIDDEN, FakeEngine, Sampling
from value_steer.features.run import CaptureTask, OpenedEngine, SamplingOptions, capture_dataset
from value_steer.labels.errors import LabelError
from value_steer.labels.run import LabelTask, label_folder
from value_steer.labels.store import read_labels

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def task(tmp_path: Path) -> CaptureTask:
    """Three questions, and a model whose configuration is all there is."""
    (tmp_path / "model").mkdir()
    config = {"model_type": "mistral", "hidden_size": HIDDEN, "architectures": []}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    rows = [{"question": f"q{i}", "answer": f"#### {i}"} for i in range(3)]
    file = tmp_path / "train.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return CaptureTask(
        str(tmp_path / "model"),
        "gsm8k",
        file,
        tmp_path / "cache",
        sampling=SamplingOptions(temperature=0.7, max_tokens=9),
    )


def _open(model: str, options: dict[str, object], sampling: dict[str, object]) -> OpenedEngine:
    assert model.endswith("model")
    assert "worker_cls" in options
    return OpenedEngine(FakeEngine(), Sampling(**sampling), "0.0", "float32")  # type: ignore[arg-type]


def test_a_data_set_is_captured_and_labelled(task: CaptureTask) -> None:
    """With what it was sampled with written down."""
    stored: list[int] = []

    cache = capture_dataset(_open, task, after_batch=stored.append)
    summary = label_folder(LabelTask(task.cache, "regex", pattern="[a-m]"))

    assert (len(cache), stored) == (3, [3])
    assert {one.response.reference for one in cache} == {"0", "1", "2"}
    settings = cache.spec.settings
    assert (settings.temperature, settings.max_tokens) == (0.7, 9)
    assert (settings.engine, settings.model) == ("vllm 0.0", task.model)
    assert (summary.name, summary.responses) == ("regex", 3)
    assert set(read_labels(cache, "regex").values()) <= {0.0, 1.0}


def test_every_verifier_of_text(task: CaptureTask, tmp_path: Path) -> None:
    """A pattern that is bad, an exact answer, a column from a file."""
    cache = capture_dataset(_open, task)
    rows = [{"prompt_id": p, "sample": s, "q": 0.5} for p, s in sorted(cache.keys())]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    bad = label_folder(LabelTask(task.cache, "regex", pattern=".", pattern_is_bad=True))
    exact = label_folder(LabelTask(task.cache, "exact"))
    column = label_folder(
        LabelTask(task.cache, "column", file=tmp_path / "q.jsonl", column="q", batch=2)
    )

    assert (bad.mean, exact.mean, column.mean) == (0.0, 0.0, 0.5)


def test_what_a_verifier_needs_is_said(task: CaptureTask) -> None:
    """A URL, a pattern, a file, something to label."""
    capture_dataset(_open, task)
    for by, needs in (("safety", "URL"), ("regex", "pattern"), ("column", "file")):
        with pytest.raises(LabelError, match=needs):
            label_folder(LabelTask(task.cache, by))  # type: ignore[arg-type]
