"""Labels lie beside the features and are made once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.features.samples import HIDDEN, features
from value_steer.features import CacheSpec, FeatureCache, FeatureDataset, ResponseKey
from value_steer.labels.errors import LabelError
from value_steer.labels.store import label_cache, label_file, read_labels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from value_steer.features import Response


@dataclass
class Counting:
    """Labels by the number in the prompt's id; fails when its strength is spent."""

    name: str = "counting"
    strength: int = 100
    seen: list[ResponseKey] = field(default_factory=list)
    give: float | None = None

    def label(self, responses: Sequence[Response]) -> list[float]:
        """One tenth of the number."""
        if len(self.seen) + len(responses) > self.strength:
            raise KeyboardInterrupt
        self.seen += [one.key for one in responses]
        given = [int(one.key.prompt_id) / 10 for one in responses]
        return given if self.give is None else [self.give] * len(given)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Six responses in two shards."""
    cache = FeatureCache.create(tmp_path, CacheSpec(HIDDEN))
    cache.add([features(str(i)) for i in range(4)])
    cache.add([features(str(i)) for i in range(4, 6)])
    return cache


def test_every_response_is_labelled_once(cache: FeatureCache) -> None:
    """Again and again, and from the file."""
    done: list[int] = []
    first = Counting()
    labels = label_cache(cache, first, batch=4, after_batch=done.append)
    second = Counting()

    assert label_cache(cache, second) == labels == read_labels(cache, "counting")
    assert labels == {ResponseKey(str(i)): i / 10 for i in range(6)}
    assert (len(first.seen), second.seen, done) == (6, [], [4, 2])
    assert FeatureDataset(cache, labels)[5].label == 0.5


def test_a_run_that_was_cut_short_goes_on(cache: FeatureCache) -> None:
    """What was labelled before is kept; a line that was half written is made again."""
    with pytest.raises(KeyboardInterrupt):
        label_cache(cache, Counting(strength=4), batch=2)
    file = label_file(cache, "counting")
    file.write_bytes(file.read_bytes()[:-3])

    again = Counting()
    labels = label_cache(cache, again)

    assert len(again.seen) == 3
    assert labels == read_labels(cache, "counting")
    assert len(labels) == 6


def test_two_verifiers_do_not_meet(cache: FeatureCache) -> None:
    """Each has a file."""
    label_cache(cache, Counting("a", give=0.0))
    label_cache(cache, Counting("b", give=1.0))

    assert set(read_labels(cache, "a").values()) == {0.0}
    with pytest.raises(LabelError, match="there are: a, b"):
        read_labels(cache, "c")


@pytest.mark.parametrize("line", ["x", "[]", '["a", 0, 2.0]', '["a", "0", 1.0]', "[1, 0, 1.0]"])
def test_damage_names_the_line(cache: FeatureCache, line: str) -> None:
    """And says what to do."""
    label_cache(cache, Counting())
    file = label_file(cache, "counting")
    file.write_text(f"{line}\n{file.read_text(encoding='utf-8')}", encoding="utf-8")

    with pytest.raises(LabelError, match=r"counting\.jsonl: line 1 is .*label again"):
        read_labels(cache, "counting")


def test_what_is_no_label_is_refused(cache: FeatureCache) -> None:
    """A number beyond 1, and a name that leads elsewhere."""
    with pytest.raises(LabelError, match="from 0 to 1"):
        label_cache(cache, Counting(give=1.5))
    with pytest.raises(LabelError, match="cannot name"):
        label_cache(cache, Counting("../up"))
