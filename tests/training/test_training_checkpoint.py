"""Saving what was trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.training.material import HIDDEN, separable, tiny_mistral
from value_steer.errors import CheckpointError
from value_steer.train_probe import save_probe_checkpoint, train_probe
from value_steer.value_probe import FeatureSpec, Polarity, ValueHead, load_value_head
from value_steer.value_probe.head import Architecture

if TYPE_CHECKING:
    from pathlib import Path


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    """A backbone, a loader of tokens, three settings; then the bare state dict and its sidecar."""
    backbone = tiny_mistral()
    ids = torch.randint(4, 64, (8, 6))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.ones(8)}
    head = ValueHead(32)

    train_probe(backbone, head, [batch], loss_name="focal", use_td=True, coh_weight=0.1)
    save_probe_checkpoint(str(tmp_path / "vhead.pt"), head, threshold=0.25, meta={"loss": "focal"})

    weights = torch.load(tmp_path / "vhead.pt", weights_only=True)
    assert list(weights) == [
        f"{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")
    ]
    card = load_value_head(tmp_path / "vhead.pt").card
    assert (card.threshold, card.meta, card.hidden_size) == (0.25, {"loss": "focal"}, 32)
    assert (card.scores, card.feature) == (None, FeatureSpec(capture="prefill"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("architecture", Architecture)
def test_a_trained_head_comes_back_as_it_was(
    tmp_path: Path, suffix: str, architecture: Architecture
) -> None:
    """Both papers' heads, with everything that is said about them."""
    head = ValueHead(HIDDEN, architecture)
    train_probe(None, head, separable(16))
    file = tmp_path / f"vhead{suffix}"

    save_probe_checkpoint(
        file,
        head,
        threshold="never",
        scores="p_undesirable",
        capture="decode",
        backbone="a/model",
    )

    loaded = load_value_head(file)
    states = torch.randn(5, HIDDEN)
    assert torch.equal(loaded.p(states), head.p(states))
    assert loaded.card.scores is Polarity.P_UNDESIRABLE
    assert (loaded.card.threshold, loaded.card.backbone) == ("never", "a/model")
    assert loaded.card.feature.capture == "decode"


def test_what_is_not_given_stays_as_the_card_has_it(tmp_path: Path) -> None:
    """And what is given is added to it; the head's own card is left alone."""
    head = ValueHead(HIDDEN)
    card = replace(head.card, scores=Polarity.P_GOOD, threshold=0.4, meta={"seed": 1})
    head.card = card

    save_probe_checkpoint(tmp_path / "vhead.pt", head, meta={"loss": "bce"})

    saved = load_value_head(tmp_path / "vhead.pt").card
    assert saved == replace(card, meta={"seed": 1, "loss": "bce"})
    assert head.card is card


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"scores": "p_bad"}, "scores = 'p_bad' must be one of p_good, p_undesirable"),
        ({"threshold": 1.5}, "threshold = 1.5 must be a number from 0 to 1"),
        ({"threshold": float("inf")}, "threshold = inf must be"),
        ({"meta": {"losses": [1, 2]}}, "meta"),
        ({"capture": "guess"}, "capture"),
    ],
)
def test_what_cannot_be_served_is_not_written(
    tmp_path: Path, arguments: dict[str, Any], said: str
) -> None:
    """Neither file is there afterwards."""
    with pytest.raises(CheckpointError, match=said):
        save_probe_checkpoint(tmp_path / "vhead.pt", ValueHead(HIDDEN), **arguments)

    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    """A head that was trained elsewhere and failed there."""
    head = ValueHead(HIDDEN)
    with torch.no_grad():
        next(head.parameters())[0, 0] = float("nan")

    with pytest.raises(CheckpointError, match="not made of finite"):
        save_probe_checkpoint(tmp_path / "vhead.pt", head)

    assert list(tmp_path.iterdir()) == []
