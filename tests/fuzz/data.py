"""Data sets, files of lines, and what lies in the folder of a feature cache."""

from __future__ import annotations

import copy
import functools
import gzip
import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import load, save

from tests.features.samples import HIDDEN, features
from tests.fuzz.made import changed, damaged, json_text, lines, tables
from tests.fuzz.target import Target, of_file, ours
from tests.recalibration.recordings import SETTINGS, answer
from value_steer.evaluation.columns import read_columns
from value_steer.evaluation.generations import read_generations
from value_steer.features import CacheSpec, FeatureCache
from value_steer.labels.datasets import SOURCES, load_prompts, load_responses
from value_steer.labels.store import label_file, read_labels
from value_steer.labels.text import PrecomputedColumn
from value_steer.recalibration.drift import drift_of
from value_steer.recalibration.labels import join
from value_steer.recalibration.recorded import read_traffic
from value_steer.traffic import TrafficHead, TrafficHeader, answer_line, header_line
from value_steer.trajectories import Trajectory, read_trajectories
from value_steer.value_probe import HeadCard, Polarity, ValueHead
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GOOD = Polarity.P_GOOD


def _head() -> ValueHead:
    """Of the same weights each time."""
    head = ValueHead(HIDDEN)
    head.load_state_dict({k: torch.zeros_like(v) for k, v in head.state_dict().items()})
    head.card = HeadCard(HIDDEN, scores=GOOD, threshold=0.5)
    return head


HEAD = _head()
DIGEST = weights_digest(HEAD)

ROWS: dict[str, list[object]] = {
    "trajectories": [
        {
            "trajectories": 1,
            "scores": "p_good",
            "settings": {"model": "m", "top_k": 0},
            "head": "h",
        },
        {"prompt_id": "a", "values": [0.5, 1], "label": 1.0, "prior": 0.5, "group": None},
    ],
    "generations": [{"policy": "base", "prompt_id": "a", "tokens": [1], "unsafe": False}],
    "columns": [{"prompt_id": "a", "self_assessment": 0.5, "confidence": [1.0]}],
    "traffic": [
        json.loads(
            header_line(TrafficHeader(0.5, SETTINGS, (TrafficHead("vfd", "", DIGEST, GOOD),)))
        ),
        json.loads(answer_line(answer("a", [0.5, 0.25], first=1, tokens=2))),
        json.loads(answer_line(answer("b", [0.5], first=1, tokens=1))),
    ],
    "labels of traffic": [{"id": "a", "label": 1.0}, {"id": "b", "choice": 0, "label": 0}],
    "labels": [{"labels": 2, "made_by": {"x": 1}}, ["a", 0, 1.0, "d"]],
    "column": [{"prompt_id": "a", "sample": 0, "label": 1.0}],
    "hh-rlhf": [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": ""}],
    "beavertails": [{"prompt": "a", "response": "b", "is_safe": True}],
    "pku-saferlhf": [
        {
            "prompt": "a",
            "response_0": "b",
            "response_1": "c",
            "is_response_0_safe": True,
            "is_response_1_safe": False,
        }
    ],
    "gsm8k": [{"question": "a", "answer": "#### 1"}],
    "olympiadbench": [{"question": "a", "final_answer": ["1"], "context": None}],
    "realtoxicityprompts": [{"prompt": {"text": "a"}}],
    "prompts": [{"prompt": "a", "reference": "b"}],
}


def _files(good: list[object]) -> st.SearchStrategy[tuple[str, bytes]]:
    zipped = st.binary(max_size=60) | lines(good)
    return st.one_of(
        st.tuples(st.just(".jsonl"), lines(good)),
        st.tuples(st.just(".jsonl"), st.binary(max_size=60)),
        st.tuples(st.sampled_from([".json", ".csv", ".parquet", ".jsonl.gz"]), lines(good)),
        st.tuples(st.just(".jsonl.gz"), zipped.map(gzip.compress).flatmap(damaged)),
        st.tuples(st.just(".json"), lines(good).map(lambda text: b"[" + text + b"]")),
        st.tuples(st.just(".csv"), tables()),
    )


def _data_set(name: str) -> Target:
    def check(folder: Path, made: tuple[str, bytes]) -> None:
        file = folder / f"file{made[0]}"
        file.write_bytes(made[1])
        if name == "column":
            ours(lambda: [PrecomputedColumn.from_file(file, "label")])
            return
        ours(lambda: load_prompts(name, file))
        ours(lambda: load_responses(name, file))

    return Target(f"data set {name}", _files(ROWS[name]), check)


def _columns(file: Path) -> Iterable[object]:
    return [read_columns(file, [Trajectory("a", np.array([0.5]), 1.0)])]


_LINES: dict[str, Callable[[Path], Iterable[object]]] = {
    "trajectories": read_trajectories,
    "generations": read_generations,
    "columns": _columns,
}


def _lines(name: str) -> Target:
    read = _LINES[name]
    return of_file(f"lines of {name}", lines(ROWS[name]), lambda p: [*read(p)], "file.jsonl")


def _traffic(folder: Path, made: bytes) -> None:
    (folder / "a.jsonl").write_bytes(made)
    ours(lambda: [drift_of(read_traffic(folder, HEAD), HEAD.card)])


def _labels_of_traffic(folder: Path, made: bytes) -> None:
    (folder / "traffic").mkdir(exist_ok=True)
    good = b"\n".join(json.dumps(row).encode() for row in ROWS["traffic"])
    (folder / "traffic" / "a.jsonl").write_bytes(good + b"\n")
    (folder / "labels.jsonl").write_bytes(made)
    ours(lambda: [join(read_traffic(folder / "traffic", HEAD), folder / "labels.jsonl")])


@dataclass(frozen=True, slots=True)
class _Files:
    """What lies in the folder of a cache of one shard."""

    index: Any
    words: bytes
    tensors: bytes


_SHARD = "shard-0"


@functools.cache
def _good() -> _Files:
    """A cache of one response, of the same bytes each time."""
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache.create(folder, CacheSpec(HIDDEN))
        cache.add([features("a")])
        (shard,) = cache.shards
        index = json.loads(Path(folder, "index.json").read_bytes())
        index["shards"][0]["name"] = _SHARD
        return _Files(
            index,
            shard.words_in(cache.folder).read_bytes(),
            shard.tensors_in(cache.folder).read_bytes(),
        )


def _write(folder: Path, files: _Files) -> None:
    (folder / "index.json").write_text(json.dumps(files.index), encoding="utf-8")
    (folder / f"{_SHARD}.json").write_bytes(files.words)
    (folder / f"{_SHARD}.safetensors").write_bytes(files.tensors)


def _labels(folder: Path, made: bytes) -> None:
    _write(folder, _good())
    cache = FeatureCache.open(folder)
    file = label_file(cache, "x")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(made)
    ours(lambda: read_labels(cache, "x"))


@st.composite
def _caches(draw: st.DrawFn) -> _Files:
    """One of its files is another, of the checksum that the index states."""
    good = _good()
    body = copy.deepcopy(good.index)
    (shard,) = body["shards"]
    match draw(st.sampled_from(("index", "words", "tensors"))):
        case "words":
            words = draw(json_text([_RESPONSE]))
            shard["words_sha256"] = hashlib.sha256(words).hexdigest()
            return replace(good, index=body, words=words)
        case "tensors":
            tensors = draw(damaged(good.tensors) | _tensors())
            shard["sha256"] = hashlib.sha256(tensors).hexdigest()
            return replace(good, index=body, tensors=tensors)
    return replace(good, index=draw(changed(body)))


@st.composite
def _tensors(draw: st.DrawFn) -> bytes:
    """Tensors of other types and shapes than they have in a shard."""
    made = load(_good().tensors)
    shapes = st.lists(st.integers(0, 4), max_size=3)
    for name in draw(st.lists(st.sampled_from(sorted(made)), max_size=2)):
        kind = draw(st.sampled_from([torch.float32, torch.int64, torch.int32, torch.float16]))
        fill = draw(st.sampled_from([0, 1, 3, -1]))
        made[name] = torch.full(draw(shapes), fill, dtype=kind)
    if draw(st.booleans()):
        del made[draw(st.sampled_from(sorted(made)))]
    return save(made)


def _cache(folder: Path, files: _Files) -> None:
    _write(folder, files)
    ours(lambda: FeatureCache.open(folder))


def _index(folder: Path, made: bytes) -> None:
    _write(folder, _good())
    (folder / "index.json").write_bytes(made)
    ours(lambda: FeatureCache.open(folder))


_RESPONSE = {
    "key": ["a", 0],
    "prompt": "prompt a",
    "text": "réponse",
    "finish": "stop",
    "reference": "42",
    "prompt_tokens": [1, 2],
    "label": None,
}

TARGETS = (
    *(_data_set(name) for name in (*SOURCES, "column")),
    *(_lines(name) for name in _LINES),
    Target("recorded traffic", lines(ROWS["traffic"]).map(lambda made: made + b"\n"), _traffic),
    Target("labels of traffic", lines(ROWS["labels of traffic"]), _labels_of_traffic),
    Target("labels of a cache", lines(ROWS["labels"]), _labels),
    Target("index of a cache", json_text({"format": 1, "spec": {}, "shards": []}), _index),
    Target("files of a cache", _caches(), _cache),
)
