"""Reading and writing a head's card as strict JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from value_steer.errors import CheckpointError
from value_steer.threshold import ALLOWED, is_number, is_threshold
from value_steer.value_probe.card import CalibrationCurve, FeatureSpec, HeadCard, Polarity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMAT = 1
"""Version of the sidecar's format."""


def dumps(card: HeadCard) -> str:
    """The card as JSON text, with its keys in a fixed order."""
    feature = card.feature
    body = {
        "format": FORMAT,
        "hidden_size": card.hidden_size,
        "scores": card.scores.value if card.scores else None,
        "feature": {
            "layer": feature.layer,
            "position": feature.position,
            "capture": feature.capture,
        },
        "threshold": card.threshold,
        "curves": [
            {
                "quantity": curve.quantity,
                "points": [list(point) for point in curve.points],
                "n": curve.n,
                "guarantee": curve.guarantee,
            }
            for curve in card.curves
        ],
        "backbone": card.backbone,
        "meta": dict(card.meta),
    }
    return json.dumps(body, indent=2, allow_nan=False) + "\n"


def loads(text: str, source: str) -> HeadCard:
    """Read a card.

    Args:
        text: JSON text.
        source: Where it came from, for error messages.

    Raises:
        CheckpointError: It is not JSON, or a key is unknown, missing or of the wrong type; all
            problems are listed.
    """
    try:
        body = json.loads(text)
    except ValueError as error:
        msg = f"{source}: not valid JSON ({error}); restore the sidecar or delete it"
        raise CheckpointError(msg) from error
    return _Reader(source).card(body)


class _Reader:
    """Collects every problem of one card before it refuses it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._problems: list[str] = []

    def card(self, body: object) -> HeadCard:
        known = self._object(body, "", _CARD_KEYS, required=("hidden_size",))
        curves = [self._curve(c, f"curves[{i}]") for i, c in enumerate(known.get("curves") or [])]
        feature = self._object(known.get("feature") or {}, "feature", _FEATURE_KEYS)
        if self._problems:
            msg = f"{self._source}: " + "; ".join(self._problems)
            raise CheckpointError(msg)
        return HeadCard(
            hidden_size=known["hidden_size"],
            scores=Polarity(known["scores"]) if known.get("scores") else None,
            feature=FeatureSpec(**feature),
            threshold=known.get("threshold"),
            curves=tuple(curve for curve in curves if curve),
            backbone=known.get("backbone"),
            meta=known.get("meta") or {},
        )

    def _curve(self, body: object, where: str) -> CalibrationCurve | None:
        known = self._object(body, where, _CURVE_KEYS, required=("quantity", "points", "n"))
        if self._problems:
            return None
        points = tuple(sorted((float(asked), c) for asked, c in known["points"]))
        return CalibrationCurve(known["quantity"], points, known["n"], known.get("guarantee"))

    def _object(
        self,
        body: object,
        where: str,
        keys: Mapping[str, tuple[Callable[[Any], bool], str]],
        required: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """The entries of a JSON object whose keys and values are as ``keys`` allows."""
        if not isinstance(body, dict):
            self._problems.append(f"{where or 'the sidecar'} must be an object")
            return {}
        prefix = f"{where}." if where else ""
        for key, value in body.items():
            if key not in keys:
                allowed = ", ".join(keys)
                self._problems.append(f"unknown key {prefix}{key} (allowed: {allowed})")
            elif not keys[key][0](value):
                self._problems.append(f"{prefix}{key} = {value!r} must be {keys[key][1]}")
        missing = [f"{prefix}{key} is missing" for key in required if key not in body]
        self._problems.extend(missing)
        return body


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_optional_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_scores(value: object) -> bool:
    return value is None or value in {p.value for p in Polarity}


def _is_points(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(_is_point(point) for point in value)


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and is_number(point[0], 0.0, 1.0)
        and is_threshold(point[1])
    )


def _is_meta(value: object) -> bool:
    plain = (str, int, float, bool, type(None))
    return isinstance(value, dict) and all(isinstance(v, plain) for v in value.values())


_FEATURE_KEYS = {key: (_is_text, "text") for key in ("layer", "position", "capture")}
_CURVE_KEYS = {
    "quantity": (
        lambda v: v in ("abstain_reward", "target_rate", "alpha"),
        "abstain_reward, target_rate or alpha",
    ),
    "points": (_is_points, f"a list of [number from 0 to 1, threshold], a threshold being {ALLOWED}"),
    "n": (_is_count, "a positive integer"),
    "guarantee": (_is_optional_text, "text or null"),
}
_CARD_KEYS = {
    "format": (lambda v: v == FORMAT, f"{FORMAT}, the version of the format"),
    "hidden_size": (_is_count, "a positive integer"),
    "scores": (_is_scores, " or ".join(repr(p.value) for p in Polarity) + " or null"),
    "feature": (lambda v: isinstance(v, dict), "an object"),
    "threshold": (lambda v: v is None or is_threshold(v), f"{ALLOWED}, or null"),
    "curves": (lambda v: isinstance(v, list), "a list"),
    "backbone": (_is_optional_text, "text or null"),
    "meta": (_is_meta, "an object of plain values"),
}
