"""The head of "Knowing When to Quit": one hidden layer, dropout while it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from tests.head_files import HIDDEN, SUFFIXES, weights_of, write
from value_steer.errors import CheckpointError
from value_steer.value_probe import (
    Architecture,
    HeadCard,
    Polarity,
    ValueHead,
    load_value_head,
    oriented,
    save_value_head,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def head() -> ValueHead:
    """A head with reproducible weights."""
    torch.manual_seed(3)
    return ValueHead(HIDDEN, Architecture.TWO_LAYER)


def theirs() -> nn.Sequential:
    """The layers as the authors write them."""
    dropout = nn.Dropout(0.1)
    return nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), dropout, nn.Linear(HIDDEN, 1))


def test_weights_of_the_plain_layers_fit(head: ValueHead) -> None:
    """Same keys, same values."""
    plain = theirs().eval()
    head.load_state_dict(plain.state_dict())
    hidden = torch.randn(7, HIDDEN)

    assert list(head.state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    torch.testing.assert_close(head.eval().logit(hidden), plain(hidden)[:, 0])


def test_it_drops_units_in_training_only(head: ValueHead) -> None:
    """Dropout shows in repeated evaluations."""
    hidden = torch.randn(50, HIDDEN)

    assert not torch.equal(head.logit(hidden), head.logit(hidden))
    assert torch.equal(head.eval().logit(hidden), head.logit(hidden))


def test_gradients_reach_every_weight(head: ValueHead) -> None:
    """It can be trained through ``logit``."""
    head.logit(torch.randn(9, HIDDEN)).sum().backward()  # type: ignore[no-untyped-call]

    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_shows_which_architecture_it_holds(
    head: ValueHead, tmp_path: Path, suffix: str
) -> None:
    """Saved or published bare, it comes back ready to serve."""
    save_value_head(tmp_path / f"a{suffix}", head, HeadCard(HIDDEN, scores=Polarity.P_GOOD))
    write(tmp_path / f"b{suffix}", theirs().state_dict())

    loaded = load_value_head(tmp_path / f"a{suffix}")

    assert loaded.architecture is Architecture.TWO_LAYER
    assert not loaded.training
    hidden = torch.randn(7, HIDDEN)
    assert torch.equal(loaded.p(hidden), head.eval().p(hidden))
    assert load_value_head(tmp_path / f"b{suffix}").card == HeadCard(HIDDEN)


def test_it_turns_like_any_head(head: ValueHead) -> None:
    """The last layer is negated, whichever number it has."""
    head.eval().card = HeadCard(HIDDEN, scores=Polarity.P_GOOD)
    hidden = torch.randn(7, HIDDEN)

    turned = oriented(head, Polarity.P_UNDESIRABLE).head

    torch.testing.assert_close(turned.p(hidden) + head.p(hidden), torch.ones(7))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"3.weight": torch.zeros(2, HIDDEN)}, r"3\.weight has shape \(2, 4\), expected \(1, 4\)"),
        ({"2.weight": torch.zeros(1, HIDDEN)}, r"unexpected keys 2\.weight; expected exactly 0"),
    ],
)
def test_what_is_neither_architecture_is_refused(
    head: ValueHead, tmp_path: Path, change: dict[str, torch.Tensor], said: str
) -> None:
    """The nearest one says what is wrong."""
    path = write(tmp_path / "v.pt", {**weights_of(head), **change})

    with pytest.raises(CheckpointError, match=said):
        load_value_head(path)
