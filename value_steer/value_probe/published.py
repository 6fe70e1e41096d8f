"""Reading the sidecar of a head that another package saved.

The published form is ``{"feature_spec": {...}, "threshold": c, "meta": {"calibration": {"alphas":
[...], "thresholds": [...], "n": .., "n_safe": .., "guarantee": ".."}}}``; it states no polarity.
What is unambiguous is understood, all the rest is kept in the card's ``meta``.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from value_steer.errors import CalibrationError, CheckpointError
from value_steer.records.codec import parse_json
from value_steer.records.fields import whole_from
from value_steer.threshold import Threshold, as_threshold, is_probability, is_threshold
from value_steer.value_probe.card import CalibrationCurve, HeadCard, Polarity
from value_steer.value_probe.card_json import KEYS, is_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger("value_steer")

_POLARITY = ("scores", "polarity")
_BACKBONE = ("backbone", "base_model", "model")
_FEATURE = {"layer": ("final",), "norm": ("post",), "position": ("post_norm", "post")}
_COUNT = whole_from(1)


def read_card(text: str | bytes, source: str, hidden_size: int) -> HeadCard | None:
    """The card in a sidecar of another package; ``None`` if it is one of ours, or no JSON object.

    Ours states its ``format``, or has no key but our own.

    Args:
        text: JSON text.
        source: Where it came from, for messages.
        hidden_size: Of the head's weights, which such a sidecar need not repeat.

    Raises:
        CheckpointError: It describes a head that reads another tensor than ``lm_head`` does, or
            contradicts itself.
    """
    try:
        body = parse_json(text)
    except ValueError:
        return None
    if not isinstance(body, dict) or "format" in body or body.keys() <= KEYS:
        return None
    _require_feature(body, source)
    try:
        card = _card(body, hidden_size)
    except (CalibrationError, RecursionError) as error:
        msg = f"{source}: {error}; correct it or remove it"
        raise CheckpointError(msg) from error
    logger.info("%s is in another package's form; understood of it: %s", source, _understood(card))
    return card


def _card(body: Mapping[str, Any], hidden_size: int) -> HeadCard:
    stated, curve = body.get("hidden_size"), _curve(body)
    threshold: Any = body.get("threshold")
    return HeadCard(
        hidden_size=stated if stated is not None and _COUNT.accepts(stated) else hidden_size,
        scores=_scores(body),
        threshold=as_threshold(threshold) if is_threshold(threshold) else None,
        curves=() if curve is None else (curve,),
        backbone=_backbone(body),
        meta=dict(_flat(body)),
    )


def _understood(card: HeadCard) -> str:
    parts = [f"hidden size {card.hidden_size}"]
    parts += [f"threshold {card.threshold}"] * (card.threshold is not None)
    parts += [f"backbone {card.backbone}"] * (card.backbone is not None)
    parts += [f"scores {card.scores.value}"] if card.scores is not None else []
    return ", ".join(
        parts + [f"an {curve.quantity} curve of n = {curve.n}" for curve in card.curves]
    )


def _require_feature(body: Mapping[str, Any], source: str) -> None:
    for name in ("feature_spec", "feature"):
        spec = body.get(name)
        for key, value in spec.items() if isinstance(spec, dict) else ():
            if value not in _FEATURE.get(key, (value,)):
                msg = (
                    f"{source}: {name}.{key} = {value!r}: the head reads another tensor than "
                    "lm_head does and cannot be served; train one on the final post-norm state"
                )
                raise CheckpointError(msg)


def _scores(body: Mapping[str, Any]) -> Polarity | None:
    words = [body[key] for key in _POLARITY if key in body]
    known = [polarity for polarity in Polarity if polarity.value in words]
    return known[0] if len(known) == 1 else None


def _backbone(body: Mapping[str, Any]) -> str | None:
    stated = {value for at, value in _flat(body) if at.removeprefix("meta.") in _BACKBONE}
    return (
        next(iter(stated)) if len(stated) == 1 and all(isinstance(n, str) for n in stated) else None
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
