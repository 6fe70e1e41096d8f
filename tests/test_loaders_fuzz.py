"""Whatever is in a file, a loader gives records or one of our errors."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.features.samples import HIDDEN, features
from value_steer.errors import ValueSteerError
from value_steer.evaluation.columns import read_columns
from value_steer.evaluation.generations import read_generations
from value_steer.features import CacheSpec, FeatureCache
from value_steer.labels.datasets import SOURCES, load_prompts, load_responses
from value_steer.labels.store import label_file, read_labels
from value_steer.labels.text import PrecomputedColumn
from value_steer.trajectories import Trajectory, read_trajectories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

EXAMPLES = int(os.environ.get("VALUE_STEER_FUZZ", "60"))
"""For each loader; a larger number is for a longer run."""

KEYS = (
    "prompt reference chosen rejected response is_safe question answer final_answer context "
    "prompt_id sample label values prior group scores settings trajectories head p_good policy "
    "tokens unsafe seconds rows log_likelihood self_assessment confidence format spec shards "
    "hidden_size dtype capture name sha256 labels made_by text model temperature top_k"
)
WORDS = st.sampled_from(KEYS.split())
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["\ud800", "p_good", "2020-01-02", "00501", "1", "\n\nHuman: a\n\nAssistant: b"]
    )
    | WORDS
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=10,
)
GOOD: dict[str, list[object]] = {
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


@st.composite
def lines(draw: st.DrawFn, good: list[object]) -> bytes:
    """Lines of JSON: good ones, good ones with something put in their place, others, noise."""
    made: list[bytes] = []
    for row in [*good, *draw(st.lists(VALUES, max_size=3))]:
        body: Any = row
        if isinstance(body, dict) and body and draw(st.booleans()):
            body = {**body, draw(st.sampled_from(sorted(body)) | WORDS): draw(VALUES)}
        elif isinstance(body, list) and body and draw(st.booleans()):
            place = draw(st.integers(0, len(body) - 1))
            body = [*body[:place], draw(VALUES), *body[place + 1 :]]
        made.append(json.dumps(body).encode())
    text = b"\n".join(made)
    if draw(st.integers(0, 5)) == 0:
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.binary(max_size=6)) + text[place + draw(st.integers(0, 4)) :]
    return text + draw(st.sampled_from([b"", b"\n"]))


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """CSV, more or less."""
    rows = draw(st.lists(st.lists(WORDS | st.text(max_size=8), max_size=4), max_size=4))
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(errors="replace")


def _files(good: list[object]) -> st.SearchStrategy[tuple[str, bytes]]:
    return st.one_of(
        st.tuples(st.just(".jsonl"), lines(good)),
        st.tuples(st.just(".jsonl"), st.binary(max_size=60)),
        st.tuples(st.sampled_from([".json", ".csv", ".parquet", ".jsonl.gz"]), lines(good)),
        st.tuples(st.just(".jsonl.gz"), lines(good).map(gzip.compress)),
        st.tuples(st.just(".json"), lines(good).map(lambda text: b"[" + text + b"]")),
        st.tuples(st.just(".csv"), tables()),
    )


def _ours(load: Callable[[], Iterable[object]]) -> None:
    try:
        list(load())
    except ValueSteerError as error:
        assert str(error)  # noqa: PT017  (any error of ours will do)
        assert str(error).encode()  # noqa: PT017


FUZZED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", [*SOURCES, "column"])
def test_data_sets(tmp_path: Path, name: str) -> None:
    """Files of rows of every kind."""

    @FUZZED
    @given(_files(GOOD[name]))
    def check(made: tuple[str, bytes]) -> None:
        file = tmp_path / f"file{made[0]}"
        file.write_bytes(made[1])
        if name == "column":
            _ours(lambda: [PrecomputedColumn.from_file(file, "label")])
            return
        _ours(lambda: load_prompts(name, file))
        _ours(lambda: load_responses(name, file))

    check()


@pytest.mark.parametrize("name", ["trajectories", "generations", "columns"])
def test_lines(tmp_path: Path, name: str) -> None:
    """What evaluation and calibration read."""
    load: dict[str, Callable[[Path], Iterable[object]]] = {
        "trajectories": read_trajectories,
        "generations": read_generations,
        "columns": lambda file: [read_columns(file, [Trajectory("a", np.array([0.5]), 1.0)])],
    }

    @FUZZED
    @given(lines(GOOD[name]))
    def check(made: bytes) -> None:
        file = tmp_path / "file.jsonl"
        file.write_bytes(made)
        _ours(lambda: load[name](file))

    check()


def test_labels_and_the_index(tmp_path: Path) -> None:
    """What lies in the folder of a cache."""
    cache = FeatureCache.create(tmp_path, CacheSpec(HIDDEN))
    cache.add([features("a")])
    index = tmp_path / "index.json"
    body = json.loads(index.read_bytes())
    file = label_file(cache, "x")
    file.parent.mkdir()

    @FUZZED
    @given(lines(GOOD["labels"]), lines([body]), lines([body["spec"]]), st.booleans())
    def check(labels: bytes, whole: bytes, spec: bytes, nested: bool) -> None:  # noqa: FBT001
        file.write_bytes(labels)
        _ours(lambda: read_labels(cache, "x"))
        first = spec.splitlines()[0] if spec.strip() else b"{}"
        inner = b'{"format": 1, "spec": ' + first + b', "shards": []}'
        index.write_bytes(inner if nested else whole.splitlines()[0] if whole.strip() else b"")
        _ours(lambda: FeatureCache.open(tmp_path).shards)

    check()
