"""Heads in the form that other packages publish: a bare state dict and a sidecar of their own."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.head_files import HIDDEN, weights_of, write
from value_steer.errors import CalibrationError, CheckpointError
from value_steer.value_probe import (
    CalibrationCurve,
    HeadCard,
    Polarity,
    ValueHead,
    card_json,
    load_value_head,
    oriented,
    published,
    save_value_head,
)
from value_steer.value_probe.checkpoint import sidecar

if TYPE_CHECKING:
    from pathlib import Path

CALIBRATION = {
    "method": "conformal",
    "alphas": [0.05, 0.25, 0.45, 0.65, 0.85],
    "thresholds": [0.75, 0.52, 0.36, 0.2, 0.1],
    "n": 6000,
    "n_safe": 3300,
    "guarantee": "P(intervene | safe) <= alpha",
}
PUBLISHED = {
    "feature_spec": {"layer": "final", "norm": "post", "pooling": "none", "dtype": "fp32"},
    "threshold": 0.36,
    "meta": {"model": "some/model-7b", "loss": "focal", "calibration": CALIBRATION},
}
POINTS = ((0.05, 0.75), (0.25, 0.52), (0.45, 0.36), (0.65, 0.2), (0.85, 0.1))
LEVELS, THRESHOLDS = CALIBRATION["alphas"], CALIBRATION["thresholds"]


def card_of(body: object) -> HeadCard | None:
    """What is read of a sidecar."""
    return published.read_card(json.dumps(body), "v.pt.meta.json", HIDDEN)


def saved(tmp_path: Path, body: object, suffix: str = ".pt") -> Path:
    """A head as it is published."""
    torch.manual_seed(5)
    path = write(tmp_path / f"v{suffix}", weights_of(ValueHead(HIDDEN)))
    sidecar(path).write_text(json.dumps(body), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".pt", ".bin"])
def test_a_published_head_loads(tmp_path: Path, suffix: str) -> None:
    """Threshold, curve and backbone are understood; nothing is claimed of its polarity."""
    card = load_value_head(saved(tmp_path, PUBLISHED, suffix), hidden_size=HIDDEN).card

    assert card.threshold == 0.36
    assert card.curves == (CalibrationCurve("alpha", POINTS, 3300, CALIBRATION["guarantee"]),)  # type: ignore[arg-type]
    assert (card.hidden_size, card.backbone, card.scores) == (HIDDEN, "some/model-7b", None)


def test_what_is_not_understood_is_kept(tmp_path: Path) -> None:
    """Under dotted names, lists as JSON; and it survives being saved in our own form."""
    head = load_value_head(saved(tmp_path, PUBLISHED))
    save_value_head(tmp_path / "ours.safetensors", head, head.card)

    meta = load_value_head(tmp_path / "ours.safetensors").card.meta

    assert meta["feature_spec.norm"] == "post"
    assert meta["meta.loss"] == "focal"
    assert meta["meta.calibration.n"] == 6000
    assert json.loads(str(meta["meta.calibration.alphas"])) == LEVELS


def test_a_published_safety_head_filters_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Value filtering takes it by its convention, and says so."""
    head = load_value_head(saved(tmp_path, PUBLISHED))

    with caplog.at_level(logging.WARNING, "value_steer"):
        turned = oriented(head, Polarity.P_UNDESIRABLE)

    assert turned.assumed
    assert "does not state what it scores" in caplog.text
    assert turned.head.card.threshold == 0.36


def test_a_published_safety_head_does_not_end_safe_answers(tmp_path: Path) -> None:
    """Its curve falls, as one of P(undesirable) does, so it is no head of P(good)."""
    head = load_value_head(saved(tmp_path, PUBLISHED))

    with pytest.raises(CalibrationError, match="if the head scores p_good"):
        oriented(head, Polarity.P_GOOD)


@pytest.mark.parametrize(
    ("body", "curve"),
    [
        ({"alphas": LEVELS, "thresholds": THRESHOLDS, "n": 9}, (POINTS, 9)),
        ({"alphas": LEVELS[::-1], "thresholds": THRESHOLDS[::-1], "n": 9}, (POINTS, 9)),  # type: ignore[index]
        ({"c": {"curve": [{"alpha": 0.1, "threshold": 0.5}], "n_safe": 3}}, (((0.1, 0.5),), 3)),
        ({"alphas": LEVELS, "thresholds": THRESHOLDS}, None),
        ({"alphas": LEVELS, "thresholds": THRESHOLDS, "n": True}, None),
        ({"alphas": [0.1, 0.1], "thresholds": [0.5, "never"], "n": 9}, None),
        ({"alphas": [0.1, 0.2, 0.3], "thresholds": [0.5, 0.6, 0.1], "n": 9}, None),
        ({"alphas": [0.1], "thresholds": [1.5], "n": 9}, None),
        ({"alphas": [0.1], "thresholds": [0.1, 0.2], "n": 9}, None),
        ({"a": CALIBRATION, "b": CALIBRATION}, None),
    ],
)
def test_a_curve_is_taken_only_if_it_is_unambiguous(
    body: dict[str, Any], curve: tuple[object, int] | None
) -> None:
    """Otherwise its numbers stay in meta."""
    card = card_of({"maker": "x", **body})

    assert card is not None
    assert [(c.points, c.n) for c in card.curves] == ([] if curve is None else [curve])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"feature_spec": {"layer": "16"}}, r"v\.pt\.meta\.json: feature_spec\.layer = '16'"),
        ({"feature_spec": {"norm": "pre"}}, "cannot be served; train one on the final"),
        ({"scores": "p_good", "meta": {"calibration": CALIBRATION}, "by": 1}, "acts less often"),
    ],
)
def test_a_head_that_cannot_be_served_is_refused(body: dict[str, object], said: str) -> None:
    """Another layer's tensor is as wrong as another model's."""
    with pytest.raises(CheckpointError, match=said):
        card_of(body)


@pytest.mark.parametrize("body", [{"hidden_size": 4}, {"format": 1, "color": 1}, [1], {}, 3])
def test_our_own_form_is_left_to_its_strict_reader(body: object) -> None:
    """A stated format, or none but our own keys."""
    assert card_of(body) is None


def test_another_hidden_size_is_refused(tmp_path: Path) -> None:
    """If such a sidecar states one, it must be the weights' own."""
    path = saved(tmp_path, {**PUBLISHED, "hidden_size": 4096})

    with pytest.raises(CheckpointError, match="its card says hidden size 4096"):
        load_value_head(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = ["feature_spec", "threshold", "meta", "calibration", "curve", "alphas", "n", "scores", "x"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON | st.just(CALIBRATION)))
def test_any_sidecar_is_read_or_refused(body: dict[str, Any]) -> None:
    """What is read can be saved in our own form."""
    try:
        card = card_of(body)
    except CheckpointError:
        return
    if card is not None:
        assert card_json.loads(card_json.dumps(card), "x") == card
