"""Reading the sidecar of a head that another package saved.

The published form is ``{"feature_spec": {...}, "threshold": c, "meta": {"calibration": {"alphas":
[...], "thresholds": [...], "n": .., "n_safe": .., "guarantee": ".."}}}``; it states no polarity.
What says which tensor the head reads, what it scores, and for which model and template, is
understood or refused, see :mod:`value_steer.value_probe.statements`; all the rest is kept in the
card's ``meta``.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from value_steer.errors import CalibrationError, CheckpointError
from value_steer.records.codec import parse_json
from value_steer.records.fields import listed, shown, whole_from
from value_steer.threshold import (
    ALLOWED,
    Threshold,
    as_threshold,
    is_probability,
    is_threshold,
)
from value_steer.value_probe.card import CalibrationCurve, HeadCard
from value_steer.value_probe.card_json import KEYS, is_plain
from value_steer.value_probe.fingerprint import SettingsFingerprint
from value_steer.value_probe.head import Architecture
from value_steer.value_probe.statements import Statements, same_model, statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger("value_steer")

_COUNT = whole_from(1)


def read_card(
    text: str | bytes, source: str, hidden_size: int, architecture: Architecture | None = None
) -> HeadCard | None:
    """The card in a sidecar of another package; ``None`` if it is one of ours, or no JSON object.

    Ours states its ``format``, or has no key but our own.

    Args:
        text: JSON text.
        source: Where it came from, for messages.
        hidden_size: Of the head's weights, which such a sidecar need not repeat.
        architecture: Of the weights, if the activations that are stated must be its own.

    Raises:
        CheckpointError: It describes a head that reads another tensor than ``lm_head`` does, or
            contradicts itself, or states in unknown words what it reads or scores.
    """
    try:
        body = parse_json(text)
    except ValueError:
        return None
    if not isinstance(body, dict) or "format" in body or body.keys() <= KEYS:
        return None
    card = card_of_values(body, source, hidden_size, architecture)
    logger.info("%s is in another package's form; understood of it: %s", source, _understood(card))
    return card


def card_of_values(
    body: Mapping[str, Any],
    source: str,
    hidden_size: int,
    architecture: Architecture | None = None,
) -> HeadCard:
    """The card that another package's values make.

    Args:
        body: Plain values, and objects and lists of them.
        source: Where they came from, for messages.
        hidden_size: As for :func:`read_card`.
        architecture: As for :func:`read_card`.

    Raises:
        CheckpointError: As for :func:`read_card`.
    """
    try:
        return _card(body, hidden_size, architecture)
    except (CalibrationError, RecursionError) as error:
        msg = f"{source}: {error}; correct it or remove it"
        raise CheckpointError(msg) from error


def joined(card: HeadCard, own: HeadCard, source: str) -> HeadCard:
    """A card, and what another one says where it says nothing.

    Raises:
        CheckpointError: The two contradict each other; names what of.
    """
    pairs = {
        "hidden sizes": (card.hidden_size, own.hidden_size),
        "polarities": (card.scores, own.scores),
        "thresholds": (card.threshold, own.threshold),
        "curves": (card.curves or None, own.curves or None),
        "models": (same_model(card.backbone), same_model(own.backbone)),
    }
    several = [what for what, (a, b) in pairs.items() if None not in (a, b) and a != b]
    if several:
        msg = f"{source} states other {', '.join(several)} than the card; keep the right ones"
        raise CheckpointError(msg)
    return replace(
        card,
        scores=card.scores or own.scores,
        threshold=own.threshold if card.threshold is None else card.threshold,
        curves=card.curves or own.curves,
        backbone=card.backbone or own.backbone,
        meta={**own.meta, **card.meta},
    )


def refuse_contradictions(
    card: HeadCard, source: str, architecture: Architecture | None = None
) -> None:
    """Refuse a card whose ``meta`` states something else than the card does.

    Raises:
        CheckpointError: Names what.
    """
    stated = statements(card.meta)
    problems = [*stated.problems, *_wrong_activations(stated, architecture)]
    if card.scores is not None and stated.scores - {card.scores}:
        problems.append(f"it says otherwise that the head scores {card.scores.value}")
    if stated.widths - {card.hidden_size}:
        problems.append(f"it says otherwise that the hidden size is {card.hidden_size}")
    if problems:
        msg = f"{source}: meta: " + listed(problems).replace("\n", "; ")
        raise CheckpointError(msg)


def _card(body: Mapping[str, Any], hidden_size: int, architecture: Architecture | None) -> HeadCard:
    stated, curve, threshold = statements(body), _curve(body), body.get("threshold")
    problems = [*stated.problems, *_wrong_activations(stated, architecture)]
    if threshold is not None and not is_threshold(threshold):
        problems.append(f"threshold = {shown(threshold)}: must be {ALLOWED}")
    if problems:
        raise CalibrationError(listed(problems).replace("\n", "; "))
    if curve is not None and stated.templates:
        settings = SettingsFingerprint(chat_template=stated.templates[0])
        curve = replace(curve, settings=settings)
    return HeadCard(
        hidden_size=next(iter(stated.widths), hidden_size),
        scores=next(iter(stated.scores), None),
        threshold=None if threshold is None else as_threshold(threshold),
        curves=() if curve is None else (curve,),
        backbone=next(iter(stated.models), None),
        meta=dict(_flat(body)),
    )


def _wrong_activations(stated: Statements, architecture: Architecture | None) -> Iterator[str]:
    if architecture is None:
        return
    own = {"tanh", "relu"} if architecture is Architecture.THREE_LAYER else {"tanh"}
    for at, names in stated.activations:
        if not own <= names <= own | {"dropout"}:
            yield (
                f"{at}: {' and '.join(sorted(own))} follow the layers of this head, not "
                f"{' and '.join(sorted(names))[:60]}; train one that has them"
            )


def _understood(card: HeadCard) -> str:
    parts = [f"hidden size {card.hidden_size}"]
    parts += [f"threshold {card.threshold}"] * (card.threshold is not None)
    parts += [f"backbone {card.backbone}"] * (card.backbone is not None)
    parts += [f"scores {card.scores.value}"] if card.scores is not None else []
    return ", ".join(
        parts + [f"an {curve.quantity} curve of n = {curve.n}" for curve in card.curves]
    )


def _curve(body: Mapping[str, Any]) -> CalibrationCurve | None:
    """The curve of thresholds over false-alarm levels, if there is exactly one."""
    curves = [curve for item in _objects(body) if (curve := _as_curve(item)) is not None]
    return curves[0] if len(curves) == 1 else None


def _as_curve(item: Mapping[str, Any]) -> CalibrationCurve | None:
    pairs, n = _pairs(item), item.get("n_safe", item.get("n"))
    if pairs is None or not _COUNT.accepts(n):
        return None
    guarantee = item.get("guarantee")
    words = guarantee if isinstance(guarantee, str) else None
    points = tuple(sorted(pairs, key=lambda pair: pair[0]))
    try:
        return CalibrationCurve("alpha", points, n, words)
    except CalibrationError:
        return None


def _pairs(item: Mapping[str, Any]) -> list[tuple[float, Threshold]] | None:
    """Levels and their thresholds, from two lists or a list of objects."""
    asked, thresholds = item.get("alphas"), item.get("thresholds")
    if isinstance(curve := item.get("curve"), list) and all(isinstance(p, dict) for p in curve):
        asked, thresholds = [p.get("alpha") for p in curve], [p.get("threshold") for p in curve]
    if not isinstance(asked, list) or not isinstance(thresholds, list):
        return None
    if len(asked) != len(thresholds) or not all(map(is_probability, asked)):
        return None
    if not all(map(is_threshold, thresholds)):
        return None
    return [(float(a), as_threshold(c)) for a, c in zip(asked, thresholds, strict=True)]


def _objects(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield body
    for value in body.values():
        if isinstance(value, dict):
            yield from _objects(value)


def _flat(body: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values under dotted names; anything else becomes its JSON text."""
    for name, value in body.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value if is_plain(value) else json.dumps(value)
