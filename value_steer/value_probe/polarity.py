"""Turning a head so that its score means what a mode needs."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from value_steer.threshold import complement

if TYPE_CHECKING:
    from value_steer.value_probe.card import CalibrationCurve, HeadCard, Polarity
    from value_steer.value_probe.head import ValueHead

logger = logging.getLogger("value_steer")


@dataclass(frozen=True, slots=True)
class OrientedHead:
    """A head in the polarity that a mode needs.

    Attributes:
        head: Its probability means what was asked for; its card is turned with it.
        assumed: Nothing stated the head's polarity, so the mode's convention was taken.
    """

    head: ValueHead
    assumed: bool


def oriented(head: ValueHead, wants: Polarity, stated: Polarity | None = None) -> OrientedHead:
    """The head with its probability meaning ``wants``.

    Args:
        head: As loaded; it is left as it is.
        wants: What the mode needs: abstention P(good), value filtering P(undesirable).
        stated: The polarity that the configuration states, which outranks the head's card.

    Returns:
        The head itself if its card says so already, else a copy. If it scores the opposite, the
        copy's last layer is negated (``1 - sigmoid(z) = sigmoid(-z)``) and its thresholds turned.

    Raises:
        CalibrationError: The head's calibration belongs to the other polarity.
    """
    scores = stated or head.card.scores
    if scores == head.card.scores == wants:
        return OrientedHead(head, assumed=False)
    if scores is None:
        logger.warning(
            "the value head does not state what it scores; taking it for %s, as this mode does. "
            'Set "scores" in the configuration, or save the head with a card that states it',
            wants.value,
        )
    turned = copy.deepcopy(head)
    if scores in (None, wants):
        turned.card = replace(head.card, scores=wants)
    else:
        _negate(turned)
        turned.card = _turned(head.card, wants)
    return OrientedHead(turned, assumed=scores is None)


def _negate(head: ValueHead) -> None:
    with torch.no_grad():
        for parameter in head.linears[-1].parameters():
            parameter.neg_()


def _turned(card: HeadCard, wants: Polarity) -> HeadCard:
    threshold = None if card.threshold is None else complement(card.threshold)
    curves = tuple(_turned_curve(curve) for curve in card.curves)
    return replace(card, scores=wants, threshold=threshold, curves=curves)


def _turned_curve(curve: CalibrationCurve) -> CalibrationCurve:
    spread = curve.spread and tuple((complement(c), complement(d)) for c, d in curve.spread)
    points = tuple((asked, complement(c)) for asked, c in curve.points)
    return replace(curve, points=points, spread=spread)
