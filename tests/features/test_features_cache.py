"""A cache keeps what was put into it, survives kills, and notices damage."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.samples import HIDDEN, features, same
from value_steer.features import CacheSpec, FeatureCache, ResponseFeatures, ResponseKey
from value_steer.features.cache import LARGEST_INDEX
from value_steer.features.errors import FeatureCacheError
from value_steer.value_probe.fingerprint import SettingsFingerprint

ROOT = Path(__file__).parents[2]
SPEC = CacheSpec(HIDDEN, settings=SettingsFingerprint(model="tiny", temperature=1.0))


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """An empty one."""
    return FeatureCache.create(tmp_path / "cache", SPEC)


def test_what_was_added_is_read_back(cache: FeatureCache) -> None:
    """Across shards, in order, by another object too; an empty response is one as well."""
    put = [features("a", 3), features("a", 5, sample=1), features("b", 0), features("c", 1)]
    cache.add(put[:2])
    cache.add(put[2:])

    found = list(FeatureCache.open(cache.folder))

    assert len(cache) == 4
    assert all(same(one, other) for one, other in zip(put, found, strict=True))
    assert cache.keys() == {one.response.key for one in put}


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), max_size=3))
def test_any_shards_of_any_lengths(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[int]]
) -> None:
    """Offsets are right whatever the lengths."""
    cache = FeatureCache.create(tmp_path_factory.mktemp("any"), SPEC)
    put = [
        [features(f"{s}-{i}", length) for i, length in enumerate(lengths)]
        for s, lengths in enumerate(shards)
    ]
    for shard in put:
        cache.add(shard)

    found = list(FeatureCache.open(cache.folder))

    flat = [one for shard in put for one in shard]
    assert all(same(one, other) for one, other in zip(flat, found, strict=True))


def test_a_narrow_dtype_rounds_the_states(tmp_path: Path) -> None:
    """And nothing but rounds them."""
    cache = FeatureCache.create(tmp_path, CacheSpec(HIDDEN, dtype="bfloat16"))
    put = features("a", 4)
    cache.add([put])

    (found,) = FeatureCache.open(tmp_path)

    assert torch.equal(found.hidden, put.hidden.bfloat16())
    assert torch.equal(found.prior, put.prior.bfloat16())


def test_responses_that_are_there_are_left_out(cache: FeatureCache) -> None:
    """Adding twice is adding once: a run that starts again may repeat itself."""
    cache.add([features("a"), features("b")])
    cache.add([features("b"), features("c")])
    cache.add([features("a")])

    assert [one.response.key.prompt_id for one in cache] == ["a", "b", "c"]
    assert len(cache.shards) == 2


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_damage_is_one_error_that_names_the_shard(cache: FeatureCache, suffix: str) -> None:
    """One flipped byte is enough."""
    cache.add([features("a")])
    file = cache.folder / (cache.shards[0].name + suffix)
    body = bytearray(file.read_bytes())
    body[-3] ^= 1
    file.write_bytes(body)

    with pytest.raises(FeatureCacheError, match=cache.shards[0].name):
        list(FeatureCache.open(cache.folder))


def test_a_lost_shard_is_named_and_can_be_struck(cache: FeatureCache) -> None:
    """What it held can then be added again."""
    cache.add([features("a")])
    cache.add([features("b")])
    lost = cache.shards[0]
    lost.tensors_in(cache.folder).unlink()

    with pytest.raises(FeatureCacheError, match=f"{lost.name}.*without"):
        list(FeatureCache.open(cache.folder))
    rest = cache.without(lost.name)
    rest.add([features("a")])

    assert [one.response.key.prompt_id for one in rest] == ["b", "a"]
    with pytest.raises(FeatureCacheError, match="no shard"):
        rest.without(lost.name)


def test_what_a_kill_leaves_behind_is_ignored(cache: FeatureCache) -> None:
    """A shard cut short, one that was not entered, and a temporary index."""
    cache.add([features("a")])
    (cache.folder / "shard-dead.safetensors").write_bytes(b"\x00" * 10)
    (cache.folder / "shard-dead.json").write_text("[", encoding="utf-8")
    (cache.folder / ".index.json.dead").write_text("{", encoding="utf-8")

    again = FeatureCache.create(cache.folder, SPEC)
    again.add([features("b")])

    assert [one.response.key.prompt_id for one in FeatureCache.open(cache.folder)] == ["a", "b"]


_FILL = """
import sys
from tests.features.test_features_cache import SPEC, FeatureCache, features
cache = FeatureCache.create(sys.argv[1], SPEC)
for i in range(10_000):
    cache.add([features(str(i), 40)])
    print(i, flush=True)
"""


def test_a_killed_writer_is_resumed(tmp_path: Path) -> None:
    """SIGKILL in the middle: every shard that counts is whole, and the run goes on."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _FILL, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert writer.stdout is not None
    with writer, writer.stdout as lines:
        for _ in range(8):
            lines.readline()
        os.kill(writer.pid, signal.SIGKILL)

    cache = FeatureCache.create(tmp_path, SPEC)
    survivors = list(cache)
    cache.add([features(str(i), 40) for i in range(20)])

    assert len(survivors) >= 8
    assert cache.keys() == {ResponseKey(str(i)) for i in range(max(20, len(survivors)))}
    assert len(list(cache)) == len(cache.keys())


def test_writers_at_once_lose_nothing(cache: FeatureCache) -> None:
    """The index is read again under its lock."""

    def write(i: int) -> None:
        FeatureCache.open(cache.folder).add([features(str(i))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))

    assert FeatureCache.open(cache.folder).keys() == {ResponseKey(str(i)) for i in range(12)}


def test_a_loader_process_gets_names_not_contents(cache: FeatureCache) -> None:
    """A pickled cache is small and reads for itself."""
    cache.add([features("a", 500)])
    list(cache)

    body = pickle.dumps(cache)

    assert len(body) < 2000
    assert same(next(iter(pickle.loads(body))), next(iter(cache)))  # noqa: S301  (our own bytes)


def test_another_cache_in_the_folder_is_refused(cache: FeatureCache) -> None:
    """Features of two settings must not be mixed."""
    with pytest.raises(FeatureCacheError, match=r"temperature: 1.0 → not recorded"):
        FeatureCache.create(cache.folder, CacheSpec(HIDDEN))


@pytest.mark.parametrize("index", ["", "[]", '{"format": 9}', '{"format": 1, "spec": {"x": 1}}'])
def test_an_index_that_is_none(tmp_path: Path, index: str) -> None:
    """Whatever is wrong with it, the file is named."""
    (tmp_path / "index.json").write_text(index, encoding="utf-8")

    with pytest.raises(FeatureCacheError, match=r"index\.json"):
        FeatureCache.open(tmp_path)


def test_no_cache_at_all(tmp_path: Path) -> None:
    """Opening makes none."""
    with pytest.raises(FeatureCacheError, match="cannot be read"):
        FeatureCache.open(tmp_path)


def test_shapes_must_fit(cache: FeatureCache) -> None:
    """Another hidden size, another dtype name, a state too few."""
    one = features("a")
    with pytest.raises(FeatureCacheError, match="expected"):
        ResponseFeatures(one.response, one.tokens, one.hidden[1:], one.prior)
    wide = ResponseFeatures(one.response, one.tokens, torch.zeros(3, 9), torch.zeros(9))
    with pytest.raises(FeatureCacheError, match="hidden sizes"):
        cache.add([wide])
    with pytest.raises(FeatureCacheError, match="int8"):
        CacheSpec(8, dtype="int8")


def test_settings_that_make_no_sense_are_named(cache: FeatureCache) -> None:
    """An index edited by hand."""
    file = cache.folder / "index.json"
    file.write_text(file.read_text(encoding="utf-8").replace("1.0", "-1.0"), encoding="utf-8")

    with pytest.raises(FeatureCacheError, match="temperature"):
        FeatureCache.open(cache.folder)


def test_the_index_can_be_read_by_others(cache: FeatureCache) -> None:
    """It is plain JSON with a checksum of every file."""
    cache.add([features("a", 3)])

    body = json.loads((cache.folder / "index.json").read_text(encoding="utf-8"))

    assert body["spec"]["settings"]["temperature"] == 1.0
    (shard,) = body["shards"]
    assert (shard["responses"], shard["tokens"]) == (1, 3)
    assert len(shard["sha256"]) == len(shard["words_sha256"]) == 64


def test_an_index_is_read_up_to_its_bound(cache: FeatureCache) -> None:
    """White space fills it up; one byte more is refused, and says so."""
    cache.add([features("a")])
    index = cache.folder / "index.json"
    body = index.read_bytes()

    index.write_bytes(body.ljust(LARGEST_INDEX))
    assert len(FeatureCache.open(cache.folder)) == 1
    index.write_bytes(body.ljust(LARGEST_INDEX + 1))
    with pytest.raises(FeatureCacheError, match=r"index\.json cannot be read \(it has more than"):
        FeatureCache.open(cache.folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"responses": 2}, "not those of 2 responses with 3 tokens"),
        ({"tokens": 4}, "not those of 1 responses with 4 tokens"),
    ],
)
def test_an_index_that_says_otherwise_than_its_shards_is_refused(
    cache: FeatureCache, change: dict[str, int], said: str
) -> None:
    """Their checksums fit; before, this was a trace, or other states than the index speaks of."""
    cache.add([features("a")])
    index = cache.folder / "index.json"
    body = json.loads(index.read_bytes())
    body["shards"][0] |= change
    index.write_text(json.dumps(body), encoding="utf-8")

    with pytest.raises(FeatureCacheError, match=said):
        list(FeatureCache.open(cache.folder))


def test_states_of_another_width_are_refused(cache: FeatureCache) -> None:
    """A head of the width that the index states would be trained on them."""
    cache.add([features("a")])
    index = cache.folder / "index.json"
    body = json.loads(index.read_bytes())
    body["spec"]["hidden_size"] = HIDDEN + 1
    index.write_text(json.dumps(body), encoding="utf-8")

    with pytest.raises(FeatureCacheError, match=f"states of {HIDDEN + 1}"):
        list(FeatureCache.open(cache.folder))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"{", "it is no JSON"),
        (b'[{"prompt": "a"}]', "0.key: missing"),
        (b'[{"key": ["a", -1]}]', "0.key = "),
        (b'[{"key": ["a", 0], "prompt_tokens": [1.5]}]', "a list of token ids"),
        (b'[{"key": ["a", 0], "label": 2}]', "0.label = 2"),
        (b'[{"key": ["a", 0], "text": 5}]', "0.text = 5"),
    ],
)
def test_words_that_are_none_are_refused(cache: FeatureCache, words: bytes, said: str) -> None:
    """Though their checksum is the one that the index states."""
    cache.add([features("a")])
    (shard,) = cache.shards
    shard.words_in(cache.folder).write_bytes(words)
    index = cache.folder / "index.json"
    body = json.loads(index.read_bytes())
    body["shards"][0]["words_sha256"] = hashlib.sha256(words).hexdigest()
    index.write_text(json.dumps(body), encoding="utf-8")

    with pytest.raises(FeatureCacheError, match=said):
        FeatureCache.open(cache.folder).keys()
