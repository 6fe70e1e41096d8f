"""Labels lie beside the features and are made once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from tests.features.samples import HIDDEN, features
from value_steer.features import CacheSpec, FeatureCache, FeatureDataset, ResponseKey
from value_steer.labels.errors import LabelError, StaleLabelsError, UnreadableError
from value_steer.labels.store import label_cache, label_file, read_labels
from value_steer.labels.text import PrecomputedColumn, RegularExpression

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
    unreadable: frozenset[str] = frozenset()

    settings: dict[str, str] = field(default_factory=lambda: {"verifier": "counting"})

    def label(self, responses: Sequence[Response]) -> list[float | None]:
        """One tenth of the number."""
        if len(self.seen) + len(responses) > self.strength:
            raise KeyboardInterrupt
        self.seen += [one.key for one in responses]
        return [
            None if one.key.prompt_id in self.unreadable else self._given(one) for one in responses
        ]

    def _given(self, response: Response) -> float:
        return int(response.key.prompt_id) / 10 if self.give is None else self.give


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


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "[]",
        '["a", 0, 2.0, "d"]',
        '["a", "0", 1.0, "d"]',
        '[1, 0, 1.0, "d"]',
        '["a", 0, 1.0]',
        '["a", true, 1.0, "d"]',
    ],
)
def test_damage_names_the_line(cache: FeatureCache, line: str) -> None:
    """And says what to do."""
    label_cache(cache, Counting())
    file = label_file(cache, "counting")
    head, *rows = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([head, line, *rows]) + "\n", encoding="utf-8")

    with pytest.raises(LabelError, match=r"counting\.jsonl: line 2 is .*label again"):
        read_labels(cache, "counting")


def test_what_is_no_label_is_refused(cache: FeatureCache) -> None:
    """A number beyond 1, and a name that leads elsewhere."""
    with pytest.raises(LabelError, match="from 0 to 1"):
        label_cache(cache, Counting(give=1.5))
    with pytest.raises(LabelError, match="cannot name"):
        label_cache(cache, Counting("../up"))


def test_labels_of_other_settings_are_refused(cache: FeatureCache) -> None:
    """With what differs; or made anew; or kept beside each other."""
    first = label_cache(cache, RegularExpression("[a-z]"))
    other = RegularExpression("[0-9]", good=False)

    with pytest.raises(
        StaleLabelsError, match=r"pattern: '\[a-z\]' → '\[0-9\]'; a match is: 'good' → 'bad'"
    ):
        label_cache(cache, other)
    assert read_labels(cache, "regex") == first
    label_cache(cache, RegularExpression("[0-9]"), name="digits")
    assert set(read_labels(cache, "digits").values()) == {0.0}
    assert read_labels(cache, "regex") == first
    assert set(label_cache(cache, RegularExpression("[0-9]"), again=True).values()) == {0.0}
    assert set(read_labels(cache, "regex").values()) == {0.0}


def test_a_corrected_column_is_another(cache: FeatureCache) -> None:
    """Its content counts, not its path."""
    labels = dict.fromkeys(cache.keys(), 1.0)
    label_cache(cache, PrecomputedColumn(labels))
    label_cache(cache, PrecomputedColumn(dict(sorted(labels.items(), reverse=True))))

    with pytest.raises(StaleLabelsError, match="labels: "):
        label_cache(cache, PrecomputedColumn({**labels, ResponseKey("0"): 0.0}))


def test_labels_without_a_maker_are_refused(cache: FeatureCache) -> None:
    """As those of an older version are."""
    file = label_file(cache, "counting")
    file.parent.mkdir()
    file.write_text('["0", 0, 1.0]\n', encoding="utf-8")

    with pytest.raises(StaleLabelsError, match="line 1 does not say what made these labels"):
        label_cache(cache, Counting())
    with pytest.raises(StaleLabelsError, match="line 1 does not say what made these labels"):
        read_labels(cache, "counting")
    assert len(label_cache(cache, Counting(), again=True)) == 6


def test_a_response_that_was_captured_anew(tmp_path: Path) -> None:
    """Its old label is not its label."""
    cache = FeatureCache.create(tmp_path, CacheSpec(HIDDEN))
    cache.add([features("0")])
    label_cache(cache, Counting())
    (shard,) = cache.shards
    cache = cache.without(shard.name)
    one = features("0")
    cache.add([replace(one, response=replace(one.response, text="another"))])
    cache = FeatureCache.open(tmp_path)

    with pytest.raises(StaleLabelsError, match=r"1 labels are of responses .* captured anew"):
        read_labels(cache, "counting")
    again = Counting(give=1.0)
    assert label_cache(cache, again) == {ResponseKey("0"): 1.0} == read_labels(cache, "counting")
    assert again.seen == [ResponseKey("0")]


def test_unreadable_is_no_label(cache: FeatureCache) -> None:
    """It is kept as what it is, left out downstream, and is an error above a share."""
    some = Counting(unreadable=frozenset("25"))
    labels = label_cache(cache, some, max_unreadable=2 / 6)

    assert [key.prompt_id for key, label in labels.items() if label is None] == ["2", "5"]
    assert read_labels(cache, "counting") == labels
    assert len(FeatureDataset(cache, labels)) == 4
    with pytest.raises(
        UnreadableError, match=r"2 verdicts could not be read, more than the 0 that"
    ):
        label_cache(cache, Counting(), max_unreadable=0.1)


def test_too_many_unreadable_end_a_run_early(cache: FeatureCache) -> None:
    """As soon as the share cannot be kept any more; what was asked is not asked again."""
    silent = Counting(unreadable=frozenset("012345"))

    for _ in range(2):
        with pytest.raises(UnreadableError, match="first of ResponseKey"):
            label_cache(cache, silent, batch=1)
        assert len(silent.seen) == 1
