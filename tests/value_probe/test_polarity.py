"""Turning a head to the polarity that a mode needs."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from value_steer.errors import CalibrationError
from value_steer.value_probe import CalibrationCurve, HeadCard, Polarity, ValueHead, oriented

GOOD, BAD = Polarity.P_GOOD, Polarity.P_UNDESIRABLE
HIDDEN = 5


def make_head(scores: Polarity | None, seed: int = 0) -> ValueHead:
    """A head with random weights whose card states ``scores``."""
    torch.manual_seed(seed)
    head = ValueHead(HIDDEN)
    head.card = HeadCard(HIDDEN, scores=scores)
    return head


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), wants=st.sampled_from(Polarity))
def test_the_two_polarities_add_up_to_one(seed: int, wants: Polarity) -> None:
    """P(good) + P(undesirable) = 1 for every head and hidden state."""
    head = make_head(BAD if wants is GOOD else GOOD, seed)
    hidden = torch.randn(7, HIDDEN) * 10

    turned = oriented(head, wants)

    torch.testing.assert_close(turned.head.p(hidden) + head.p(hidden), torch.ones(7))
    assert turned.head.card.scores is wants
    assert not turned.assumed


def test_a_head_that_agrees_is_taken_as_it_is() -> None:
    """Nothing is copied."""
    head = make_head(GOOD)

    assert oriented(head, GOOD).head is head


def test_the_head_that_came_is_left_alone() -> None:
    """Its weights and its card stay what they were."""
    head = make_head(BAD)
    weights = {key: tensor.clone() for key, tensor in head.state_dict().items()}

    oriented(head, GOOD)

    assert head.card.scores is BAD
    assert all(torch.equal(weights[key], tensor) for key, tensor in head.state_dict().items())


@pytest.mark.parametrize(
    ("card", "stated", "wants", "turns"),
    [
        (GOOD, None, GOOD, False),
        (GOOD, None, BAD, True),
        (BAD, GOOD, GOOD, False),
        (GOOD, BAD, GOOD, True),
        (None, BAD, GOOD, True),
        (None, BAD, BAD, False),
    ],
)
def test_the_configuration_outranks_the_card(
    card: Polarity | None,
    stated: Polarity | None,
    wants: Polarity,
    turns: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever states the polarity, the result's card says what it is, without a warning."""
    head = make_head(card)
    hidden = torch.randn(3, HIDDEN)

    result = oriented(head, wants, stated)

    expected = -head.logit(hidden) if turns else head.logit(hidden)
    torch.testing.assert_close(result.head.logit(hidden), expected)
    assert result.head.card.scores is wants
    assert not result.assumed
    assert caplog.records == []


@pytest.mark.parametrize("wants", list(Polarity))
def test_an_unstated_polarity_is_taken_for_the_modes_own_and_said(
    wants: Polarity, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning names what was assumed and how to state it."""
    head = make_head(None)

    with caplog.at_level(logging.WARNING, logger="value_steer"):
        result = oriented(head, wants)

    hidden = torch.randn(3, HIDDEN)
    torch.testing.assert_close(result.head.logit(hidden), head.logit(hidden))
    assert result.assumed
    assert [
        wants.value in r.getMessage() and "scores" in r.getMessage() for r in caplog.records
    ] == [True]


def test_thresholds_turn_with_the_head() -> None:
    """``c`` becomes ``1 - c`` in the threshold and in every curve; ``never`` stays."""
    head = make_head(BAD)
    curve = CalibrationCurve("target_rate", ((0.0, "never"), (0.1, 0.75), (0.2, 0.5)), n=9)
    head.card = HeadCard(HIDDEN, scores=BAD, threshold=0.75, curves=(curve,), backbone="b")

    card = oriented(head, GOOD).head.card

    assert card == HeadCard(
        HIDDEN,
        scores=GOOD,
        threshold=0.25,
        curves=(CalibrationCurve("target_rate", ((0.0, "never"), (0.1, 0.25), (0.2, 0.5)), n=9),),
        backbone="b",
    )


@pytest.mark.parametrize("stated", [None, GOOD])
def test_a_curve_gives_a_wrong_polarity_away(stated: Polarity | None) -> None:
    """A calibration that belongs to the other polarity is not used upside down."""
    head = make_head(None)
    curve = CalibrationCurve("target_rate", ((0.1, 0.75), (0.2, 0.5)), n=9)
    head.card = HeadCard(HIDDEN, curves=(curve,))

    with pytest.raises(CalibrationError, match="correct scores or recalibrate"):
        oriented(head, GOOD, stated)
    assert oriented(head, GOOD, BAD).head.card.curve("target_rate") is not None
