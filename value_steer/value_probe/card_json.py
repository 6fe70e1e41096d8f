"""Reading and writing a head's card as strict JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from typing import Any, get_args

from value_steer.errors import CalibrationError, CheckpointError
from value_steer.records.codec import parse_json
from value_steer.records.fields import (
    TEXT,
    THRESHOLD,
    Field,
    listed,
    member_of,
    one_of,
    optional,
    read,
    whole_from,
)
from value_steer.threshold import ALLOWED, Threshold, as_threshold, is_probability, is_threshold
from value_steer.value_probe.card import CalibrationCurve, FeatureSpec, HeadCard, Polarity, Quantity
from value_steer.value_probe.fingerprint import read_fingerprint

FORMAT = 1
"""Version of the sidecar's format."""


def dumps(card: HeadCard, weights: str | None = None) -> str:
    """The card as JSON text that :func:`loads` reads back.

    Args:
        card: The card.
        weights: SHA-256 of the head's file in hex, which ties the card to it.

    Raises:
        CheckpointError: The card holds what :func:`loads` would refuse.
    """
    tie = {} if weights is None else {WEIGHTS: weights}
    body = {"format": FORMAT, **tie, **asdict(replace(card, meta=dict(card.meta)))}
    try:
        text = json.dumps(body, indent=2)
    except (TypeError, ValueError) as error:
        msg = f"the card cannot be written as JSON ({error}); use plain values only"
        raise CheckpointError(msg) from error
    loads(text, "the card")
    return text + "\n"


def loads(text: str | bytes, source: str) -> HeadCard:
    """Read a card.

    Args:
        text: JSON text.
        source: Where it came from, for error messages.

    Raises:
        CheckpointError: It is not JSON, or a key is unknown, missing or of the wrong type; all
            problems are listed.
    """
    try:
        body = parse_json(text)
    except ValueError as error:
        msg = f"{source}: not valid JSON ({error}); correct it or remove it"
        raise CheckpointError(msg) from error
    try:
        return _card(body, source)
    except CalibrationError as error:
        msg = f"{source}: {error}"
        raise CheckpointError(msg) from error


def tied_to(text: str | bytes) -> str | None:
    """SHA-256 of the weights that a card states to belong to; ``None``: it does not say."""
    try:
        body = parse_json(text)
    except ValueError:
        return None  # said in full by whoever reads the card
    stated = body.get(WEIGHTS) if isinstance(body, dict) else None
    return stated if isinstance(stated, str) else None


def _card(body: object, source: str) -> HeadCard:
    problems: list[str] = []
    known = read(body, _CARD, "", problems, _CARD_NEEDS)
    feature = read(known.get("feature", {}), _FEATURE, "feature", problems)
    bodies = enumerate(known.get("curves", ()))
    curves = [_curve(body, f"curves[{i}]", problems) for i, body in bodies]
    if problems:
        msg = f"{source}: " + listed(problems).replace("\n", "; ")
        raise CheckpointError(msg)
    known.pop("format", None)
    known.pop(WEIGHTS, None)
    known["feature"] = FeatureSpec(**feature)
    known["curves"] = tuple(CalibrationCurve(**curve) for curve in curves)
    return HeadCard(**known)


def _curve(body: object, at: str, problems: list[str]) -> dict[str, Any]:
    known = read(body, _CURVE, at, problems, _CURVE_NEEDS)
    if (settings := known.get("settings")) is not None:
        known["settings"] = read_fingerprint(settings, f"{at}.settings", problems)
    return known


def _is_points(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(point, list)
        and len(point) == 2
        and is_probability(point[0])
        and is_threshold(point[1])
        for point in value
    )


def _as_points(points: list[tuple[float, Threshold]]) -> tuple[tuple[float, Threshold], ...]:
    return tuple((float(asked), as_threshold(threshold)) for asked, threshold in points)


def _is_intervals(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(map(is_threshold, pair)) for pair in value
    )


def _as_intervals(
    pairs: list[tuple[Threshold, Threshold]],
) -> tuple[tuple[Threshold, Threshold], ...]:
    return tuple((as_threshold(more), as_threshold(less)) for more, less in pairs)


def is_plain(value: object) -> bool:
    """Whether ``meta`` may hold ``value``."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, int, bool))


WEIGHTS = "weights_sha256"
"""The key that ties a sidecar to the file beside it."""

_CARD_NEEDS = ("hidden_size",)
_CURVE_NEEDS = ("quantity", "points", "n")
_CARD = {
    "format": Field(lambda v: v == FORMAT and not isinstance(v, bool), f"{FORMAT}"),
    WEIGHTS: Field(
        lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v) is not None,
        "the SHA-256 of the head's file, 64 hexadecimal digits",
    ),
    "hidden_size": whole_from(1),
    "scores": optional(member_of(Polarity)),
    "feature": Field(lambda v: isinstance(v, dict), "an object"),
    "threshold": optional(THRESHOLD),
    "curves": Field(lambda v: isinstance(v, list), "a list"),
    "backbone": optional(TEXT),
    "meta": Field(
        lambda v: isinstance(v, dict) and all(map(is_plain, v.values())),
        "an object of texts, finite numbers, booleans and nulls",
    ),
}
_FEATURE = {
    "layer": Field(
        lambda v: v == "final" or (type(v) is int and v == -1), '"final" or -1', lambda _: "final"
    ),
    "position": one_of("post_norm"),
    "capture": one_of("decode", "prefill", "unknown"),
}
_CURVE = {
    "quantity": one_of(*get_args(Quantity)),
    "points": Field(
        _is_points, f"a list of pairs: a number from 0 to 1, and {ALLOWED}", _as_points
    ),
    "n": whole_from(1),
    "guarantee": optional(TEXT),
    "settings": optional(Field(lambda v: isinstance(v, dict), "an object")),
    "group": optional(TEXT),
    "spread": optional(
        Field(_is_intervals, f"a list of pairs, each end of which is {ALLOWED}", _as_intervals)
    ),
}
KEYS = frozenset(_CARD)
"""The keys that a card may have."""
