"""What servers recorded, as one head saw it."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.recalibration.recordings import SETTINGS, answer, entry, saved, write
from value_steer.calibration import AbstentionRule
from value_steer.errors import DataError
from value_steer.recalibration.recorded import Traffic, read_traffic
from value_steer.value_probe import Polarity, load_value_head

if TYPE_CHECKING:
    from pathlib import Path

GOOD, BAD = Polarity.P_GOOD, Polarity.P_UNDESIRABLE


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A head of P(good)."""
    return saved(tmp_path / "head.pt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where servers record."""
    (tmp_path / "traffic").mkdir()
    return tmp_path / "traffic"


def _read(folder: Path, head: Path, rule: AbstentionRule | None = None) -> Traffic:
    return read_traffic(folder, load_value_head(head), rule)


def test_the_answers_of_a_head_are_read(folder: Path, head: Path, tmp_path: Path) -> None:
    """Of all files, those of other heads counted; the first value is the prompt's."""
    other = saved(tmp_path / "other.pt")
    heads = [entry(other), entry(head, rule=(0, 3))]
    write(folder / "a.jsonl", heads, [answer("x", [0.5, 0.25, 0.75], head=1), answer("o", [0.1])])
    late = [answer("y", [0.125, 0.5], head=1, first=1), answer("z", [0.5], head=1)]
    written = write(folder / "b.jsonl", heads, late)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(written.read_bytes()))
    written.unlink()
    (folder / "notes.txt").write_text("not read", encoding="utf-8")

    found = _read(folder, head)

    assert [one.key for one in found.answers] == [("x", 0), ("y", 0), ("z", 0)]
    x, y, z = found.answers
    assert (x.values.tolist(), x.prior) == ([0.25, 0.75], 0.5)
    assert (y.values.tolist(), y.prior) == ([0.125, 0.5], None)
    assert (z.values.tolist(), z.prior) == ([], 0.5)
    assert x.values.dtype == np.float32
    sampled = replace(SETTINGS, temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, max_tokens=64)
    assert x.settings == sampled
    assert (found.files, found.others, found.torn) == (2, 1, ())
    assert (found.scores, found.rule) == (GOOD, AbstentionRule(1, 3))


@pytest.mark.parametrize("scores", [GOOD, BAD])
def test_values_are_turned_to_the_heads_own_polarity(
    tmp_path: Path, folder: Path, scores: Polarity
) -> None:
    """A mode has what it needs; a head what it scores."""
    head = saved(tmp_path / "own.pt", scores)
    heads = [entry(head, "abstain", scores), entry(head, "vfd", scores)]
    good = answer("g", [0.75, 0.25, 0.125])
    bad = answer("b", [0.75, 0.875], head=1, first=1, tokens=2)
    write(folder / "a.jsonl", heads, [good, bad])

    first, second = _read(folder, head).answers

    turned = scores is BAD
    assert first.prior == (0.25 if turned else 0.75)
    assert first.values.tolist() == ([0.75, 0.875] if turned else [0.25, 0.125])
    assert second.values.tolist() == ([0.75, 0.875] if turned else [0.25, 0.125])


def test_an_answer_that_both_modes_judged_counts_once(folder: Path, head: Path) -> None:
    """Where one head serves both; the line of abstention is the one that has a prior."""
    heads = [entry(head), entry(head, "vfd")]
    lines = []
    for name in "xy":
        lines.append(answer(name, [0.5, 0.75]))
        lines.append(answer(name, [0.25, 0.5], head=1, first=1, tokens=2))
    write(folder / "a.jsonl", heads, [*lines, answer("z", [0.25], head=1, first=1, tokens=1)])

    found = _read(folder, head)

    assert [(one.id, one.prior) for one in found.answers] == [("x", 0.5), ("y", 0.5), ("z", None)]


@pytest.mark.parametrize("left", [b"", b'{"traffic": 1, "sh', b"HEAD"])
def test_what_a_killed_server_tore_is_left_out(folder: Path, head: Path, left: bytes) -> None:
    """Its last line, which may be the first, or not even begun."""
    whole = write(folder / "a.jsonl", [entry(head)], [answer("x", [0.5, 0.75])])
    header = whole.read_bytes().splitlines(keepends=True)[0]
    torn = folder / "b.jsonl"
    torn.write_bytes(header + b'{"id":"y","cho' if left == b"HEAD" else left)

    found = _read(folder, head)

    assert [one.id for one in found.answers] == ["x"]
    assert found.torn == (torn,)


def test_a_torn_line_amid_others_is_refused(folder: Path, head: Path) -> None:
    """Nothing that a server does can leave one there."""
    path = write(folder / "a.jsonl", [entry(head)], [answer("x", [0.5]), answer("y", [0.5])])
    path.write_bytes(path.read_bytes().replace(b'"finish":"stop"', b'"fini', 1))

    with pytest.raises(DataError, match=r"a\.jsonl: line 2 is not valid JSON"):
        _read(folder, head)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"values": [0.5, 2]}, "values = "),
        ({"values": [0.5, None]}, "values = "),
        ({"values": [0.5]}, "values: has 1, and 3 belong there"),
        ({"tokens": 4}, "values: has 3, and 4 belong there"),
        ({"head": 1}, "head = 1: the header has 1"),
        ({"head": -1}, "head = -1"),
        ({"first": 2}, "first = 2: must be an integer from 0 to 1"),
        ({"finish": "abort"}, 'finish = \'abort\': must be "stop" or "length"'),
        ({"temperature": "hot"}, "temperature = 'hot'"),
        ({"prompt": "text"}, "prompt: unknown key"),
        ({"id": 3}, "id = 3: must be text"),
    ],
)
def test_a_line_that_no_server_writes_is_named(
    folder: Path, head: Path, changes: dict[str, Any], said: str
) -> None:
    """With its file, its number and what is wrong there."""
    path = write(folder / "a.jsonl", [entry(head)], [answer("x", [0.5, 0.25, 0.75])])
    header, line = path.read_bytes().splitlines()
    path.write_bytes(header + b"\n" + json.dumps({**json.loads(line), **changes}).encode() + b"\n")

    with pytest.raises(DataError) as caught:
        _read(folder, head)
    assert f"{path}: line 2: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ({"id": "a", "label": 1}, "is no header of recorded traffic"),
        ({"traffic": 2, "share": 1, "settings": {}, "heads": []}, "traffic = 2: must be 1"),
        ({"traffic": 1, "share": 1, "settings": {}, "heads": [3]}, "heads[0] = 3"),
        ({"traffic": 1, "share": 1, "settings": {"x": 1}, "heads": []}, "settings.x: unknown"),
    ],
)
def test_a_file_of_something_else_is_named(
    folder: Path, head: Path, first: dict[str, Any], said: str
) -> None:
    """It does not belong into the folder."""
    (folder / "a.jsonl").write_text(json.dumps(first) + "\n", encoding="utf-8")

    with pytest.raises(DataError) as caught:
        _read(folder, head)
    assert "keep other files elsewhere" in str(caught.value)
    assert said in str(caught.value)


def test_nothing_of_a_head_is_an_error(folder: Path, head: Path, tmp_path: Path) -> None:
    """No file, or files of other heads only."""
    with pytest.raises(DataError, match="has no file of recorded traffic"):
        _read(folder, head)

    write(folder / "a.jsonl", [entry(saved(tmp_path / "other.pt"))], [answer("x", [0.5])])
    with pytest.raises(DataError, match="has 1 answers of other heads, and none of this one"):
        _read(folder, head)


def test_servers_that_used_a_head_in_different_ways_do_not_add_up(
    folder: Path, head: Path, tmp_path: Path
) -> None:
    """Unless it is said which way counts; what it scores is one thing only."""
    write(folder / "a.jsonl", [entry(head, rule=(1, 1))], [answer("x", [0.5])])
    write(folder / "b.jsonl", [entry(head, rule=(1, 2))], [answer("y", [0.5])])
    with pytest.raises(DataError, match="min_tokens 1, patience 1; min_tokens 1, patience 2"):
        _read(folder, head)
    assert _read(folder, head, AbstentionRule(4, 2)).rule == AbstentionRule(4, 2)

    write(folder / "b.jsonl", [entry(head, scores=BAD)], [answer("y", [0.5])])
    with pytest.raises(DataError, match="do not agree on what the head scores"):
        _read(folder, head)
    unstated = saved(tmp_path / "unstated.pt", None)
    (folder / "b.jsonl").unlink()
    write(folder / "a.jsonl", [entry(unstated, scores=BAD)], [answer("x", [0.5])])
    assert _read(folder, unstated).scores is BAD
