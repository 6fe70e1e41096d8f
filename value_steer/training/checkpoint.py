"""Saving a trained head with what is known about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from value_steer.errors import CheckpointError
from value_steer.threshold import ALLOWED, as_threshold, is_threshold
from value_steer.value_probe import FeatureSpec, Polarity, save_value_head

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from value_steer.threshold import Threshold
    from value_steer.value_probe import ValueHead


def save_probe_checkpoint(  # noqa: PLR0913  (what a card says, by name)
    path: str | os.PathLike[str],
    head: ValueHead,
    *,
    threshold: Threshold | None = None,
    meta: Mapping[str, str | int | float | bool | None] | None = None,
    scores: Polarity | Literal["p_good", "p_undesirable"] | None = None,
    capture: Literal["decode", "prefill", "unknown"] | None = None,
    backbone: str | None = None,
) -> None:
    """Write a head and its sidecar ``<path>.meta.json``; each file is replaced atomically.

    What is not given stays as the head's own card has it.

    Args:
        path: ``.safetensors``, or ``.pt`` or ``.bin`` for a bare state dict.
        head: The head; its card stays as it is.
        threshold: Calibrated threshold, in the head's own polarity.
        meta: Anything else to remember; it is added to what the card has.
        scores: What a label of 1 meant. Without it, each mode takes the head by its own
            convention, with a warning.
        capture: How the training features were computed.
        backbone: Identifier of the model it was trained on.

    Raises:
        CheckpointError: An argument cannot be written, or the weights are not finite.
    """
    card = replace(head.card, meta={**head.card.meta, **(meta or {})})
    if threshold is not None:
        card = replace(card, threshold=_threshold(threshold))
    if scores is not None:
        card = replace(card, scores=_polarity(scores))
    if capture is not None:
        card = replace(card, feature=FeatureSpec(capture=capture))
    if backbone is not None:
        card = replace(card, backbone=backbone)
    save_value_head(path, head, card)


def _threshold(threshold: Threshold) -> Threshold:
    if not is_threshold(threshold):
        msg = f"threshold = {threshold!r} must be {ALLOWED}"
        raise CheckpointError(msg)
    return as_threshold(threshold)


def _polarity(scores: str) -> Polarity:
    try:
        return Polarity(scores)
    except ValueError as error:
        allowed = ", ".join(polarity.value for polarity in Polarity)
        msg = f"scores = {scores!r} must be one of {allowed}"
        raise CheckpointError(msg) from error
