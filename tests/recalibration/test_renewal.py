"""A new calibration from recorded traffic."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.recalibration.recordings import answer, entry, many, saved, write
from value_steer.errors import CalibrationError, DataError
from value_steer.recalibration.labels import Joined, join
from value_steer.recalibration.recorded import Traffic, read_traffic
from value_steer.recalibration.renewal import common_settings, renewed_rates, write_labelled
from value_steer.trajectories import read_header, read_trajectories
from value_steer.value_probe import HeadCard, Polarity, load_value_head
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    from pathlib import Path


def _traffic(tmp_path: Path, scores: Polarity = Polarity.P_GOOD) -> tuple[Path, Traffic]:
    head = saved(tmp_path / "head.pt", scores)
    rows = {"a": [0.5, 0.25], "b": [0.5, 0.75, 0.875], "c": [0.5]}
    answers = [answer(name, row) for name, row in rows.items()]
    answers.append(replace(answers[1], choice=1))
    write(tmp_path / "traffic" / "a.jsonl", [entry(head, scores=scores)], answers)
    return head, read_traffic(tmp_path / "traffic", load_value_head(head))


def _labels(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_labels_find_their_answers(tmp_path: Path) -> None:
    """By the request's id, and by the number of the answer where there are several."""
    _, traffic = _traffic(tmp_path)
    labels = _labels(
        tmp_path,
        {"id": "a", "label": 1},
        {"id": "a", "label": 1.0},
        {"id": "b", "label": 0.25, "choice": 1},
        {"id": "c", "label": 0},
        {"id": "c", "label": 1},
        {"id": "elsewhere", "label": 1},
    )

    found = join(traffic, labels)

    assert [(one.key, label) for one, label in found.labelled] == [
        (("a", 0), 1.0),
        (("b", 1), 0.25),
    ]
    counts = (found.unlabelled, found.ambiguous, found.unmatched, found.contradicted)
    assert counts == (1, 0, 1, 1)


def test_completions_are_found_by_the_id_in_their_answer(tmp_path: Path) -> None:
    """The engine's has the number of the prompt behind it; other prompts go by that."""
    head = saved(tmp_path / "head.pt")
    names = ("cmpl-1-0", "cmpl-1-1", "cmpl-2-0", "chatcmpl-3-0", "cmpl-4-0")
    answers = [answer(name, [0.5, 0.5]) for name in names]
    answers.append(replace(answers[0], choice=1))
    write(tmp_path / "traffic" / "a.jsonl", [entry(head)], answers)
    traffic = read_traffic(tmp_path / "traffic", load_value_head(head))
    labels = _labels(
        tmp_path,
        {"id": "cmpl-1", "label": 0.125},
        {"id": "cmpl-1", "choice": 1, "label": 0.25},
        {"id": "cmpl-1", "choice": 2, "label": 0.375},  # of the second prompt, or not
        {"id": "cmpl-1-1", "label": 0.5},
        {"id": "cmpl-2-0", "label": 0.625},
        {"id": "cmpl-2", "label": 0.75},  # the engine's own id goes before it
        {"id": "chatcmpl-3", "label": 0.875},
    )

    found = join(traffic, labels)

    assert {one.key: label for one, label in found.labelled} == {
        ("cmpl-1-0", 0): 0.125,
        ("cmpl-1-0", 1): 0.25,
        ("cmpl-1-1", 0): 0.5,
        ("cmpl-2-0", 0): 0.625,
    }
    assert (found.unlabelled, found.unmatched) == (2, 3)


def test_an_id_that_several_answers_have_has_no_label(tmp_path: Path) -> None:
    """Callers may choose theirs, and choose one twice."""
    head, _ = _traffic(tmp_path)
    more = [answer("a", [0.5, 0.5]), answer("d", [0.5, 0.5])]
    write(tmp_path / "traffic" / "b.jsonl", [entry(head)], more)
    traffic = read_traffic(tmp_path / "traffic", load_value_head(head))
    labels = _labels(tmp_path, {"id": "a", "label": 1}, {"id": "d", "label": 1})

    found = join(traffic, labels)

    assert [one.id for one, _ in found.labelled] == ["d"]
    assert found.ambiguous == 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "elsewhere", "label": 1}], "none of its 1 labels"),
        ([{"id": "a", "label": 2}], "line 1: label = 2: must be a number from 0 to 1"),
        ([{"id": "a"}], "line 1: label: missing"),
        ([{"id": "a", "label": 1}, {"id": "b", "lable": 1}], "line 2: lable: unknown key"),
        ([{"id": "a", "label": 1, "choice": -1}], "choice = -1"),
        ([], "none of its 0 labels"),
    ],
)
def test_labels_that_say_nothing_are_an_error(
    tmp_path: Path, rows: list[object], said: str
) -> None:
    """With the file, the line and what is wrong there."""
    _, traffic = _traffic(tmp_path)
    with pytest.raises(DataError, match=said):
        join(traffic, _labels(tmp_path, *rows))


@pytest.mark.parametrize("scores", list(Polarity))
def test_labelled_answers_are_trajectories(tmp_path: Path, scores: Polarity) -> None:
    """In the head's own polarity, as capture would have written them; 1 is a good answer."""
    head, traffic = _traffic(tmp_path, scores)
    by_id = {one.key: one for one in traffic.answers}
    pairs = ((by_id["a", 0], 0.25), (by_id["b", 0], 1.0), (by_id["c", 0], 1.0))
    joined = Joined(pairs, 0, 0, 0, 0)

    out = tmp_path / "made" / "t.jsonl"
    write_labelled(out, load_value_head(head), traffic, joined)

    header, (a, b) = read_header(out), read_trajectories(out)
    assert (header.scores, header.head) == (scores, weights_digest(load_value_head(head)))
    assert header.settings == by_id["a", 0].settings
    good = scores is Polarity.P_GOOD
    assert (a.values.tolist(), a.label, a.prior) == (
        ([0.25], 0.25, 0.5) if good else ([0.75], 0.75, 0.5)
    )
    assert (b.values.tolist(), b.label) == (([0.75, 0.875], 1.0) if good else ([0.25, 0.125], 0.0))
    assert a.prompt_id == by_id["a", 0].prompt_id


def test_settings_that_differ_are_not_known(tmp_path: Path) -> None:
    """A curve from mixed traffic cannot say how it was sampled."""
    _, traffic = _traffic(tmp_path)
    one = traffic.answers[0]
    warm = replace(one, settings=replace(one.settings, temperature=0.5))

    found = common_settings([one, warm])

    assert (found.temperature, found.model, found.top_p) == (None, "m", 1.0)
    assert common_settings([one]) == one.settings


def test_rates_need_no_labels(tmp_path: Path) -> None:
    """The other curves and the threshold stay what they are."""
    head = saved(tmp_path / "head.pt")
    heads, answers, _ = many(head, 200, seed=1)
    write(tmp_path / "traffic" / "a.jsonl", heads, [*answers, answer("c", [0.5])])
    traffic = read_traffic(tmp_path / "traffic", load_value_head(head))
    old = renewed_rates(traffic, HeadCard(4, threshold=0.125)).curves[0]
    others = replace(old, quantity="alpha")
    before = HeadCard(4, threshold=0.125, curves=(others, replace(old, n=7)))

    card = renewed_rates(traffic, before)

    assert (card.threshold, card.scores) == (0.125, Polarity.P_GOOD)
    assert [curve.quantity for curve in card.curves] == ["alpha", "target_rate"]
    assert card.curves[0] == others
    assert card.curves[1].n == 200, "of one that has one token only nothing follows"
    assert card.curves[1].settings == traffic.answers[0].settings


def test_traffic_of_single_tokens_has_no_rates(tmp_path: Path) -> None:
    """Nothing in it can be acted on."""
    head = saved(tmp_path / "head.pt")
    write(tmp_path / "traffic" / "a.jsonl", [entry(head)], [answer("c", [0.5])])
    traffic = read_traffic(tmp_path / "traffic", load_value_head(head))

    with pytest.raises(CalibrationError, match="no recorded answer has more than one token"):
        renewed_rates(traffic, HeadCard(4))
