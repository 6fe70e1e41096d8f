"""Turning a head so that its score means what a mode needs."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from value_steer.threshold import complement
from value_steer.value_probe.card import CalibrationCurve, HeadCard, Polarity

if TYPE_CHECKING:
    from value_steer.value_probe.head import ValueHead

logger = logging.getLogger("value_steer")


@dataclass(frozen=True)
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
        head: As loaded.
        wants: What the mode needs: abstention P(good), value filtering P(undesirable).
        stated: The polarity that the configuration states, which outranks the head's card.

    Returns:
        The head itself if it agrees, else a copy whose last layer is negated:
        ``1 - sigmoid(z) = sigmoid(-z)``.
    """
    scores = stated or head.card.scores
    if scores is None:
        logger.warning(
            "the value head does not state what it scores; taking it for %s, as this mode does. "
            'State it in the sidecar, or with the key "scores"',
            wants.value,
        )
    if scores in (None, wants):
        return OrientedHead(head, assumed=scores is None)
    turned = copy.deepcopy(head)
    with torch.no_grad():
        turned[-1].weight.neg_()
        turned[-1].bias.neg_()
    turned.card = _turned_card(head.card, wants)
    return OrientedHead(turned, assumed=False)


def _turned_card(card: HeadCard, wants: Polarity) -> HeadCard:
    threshold = None if card.threshold is None else complement(card.threshold)
    curves = tuple(_turned_curve(curve) for curve in card.curves)
    return replace(card, scores=wants, threshold=threshold, curves=curves)


def _turned_curve(curve: CalibrationCurve) -> CalibrationCurve:
    return replace(curve, points=tuple((asked, complement(c)) for asked, c in curve.points))
