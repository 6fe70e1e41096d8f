"""How the responses of a calibration set were generated, and whether serving does the same."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from value_steer.records.fields import PROBABILITY, TEXT, Field, optional, read, whole_from

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SettingsFingerprint:
    """The settings that a calibration depends on, beside the head; ``None``: not recorded.

    Attributes:
        model: Identifier of the backbone.
        chat_template: SHA-256 of the chat template's text in hex, ``"none"`` for raw prompts.
        temperature: Of sampling; 0 is greedy.
        top_p: Nucleus mass; 1 is off.
        top_k: Number of tokens kept; 0 is off.
        min_p: Share of the likeliest token's probability; 0 is off.
        max_tokens: Most response tokens.
        dtype: Of the backbone's weights, as torch names it: ``bfloat16``.
        engine: What generated, with its version: ``vllm 0.28.0``.
    """

    model: str | None = None
    chat_template: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    dtype: str | None = None
    engine: str | None = None

    def differences(self, serving: SettingsFingerprint) -> tuple[str, ...]:
        """Differences between serving and calibration, one line each.

        Only what both sides know is compared.

        Args:
            serving: What the engine knows of itself, the rest left out.
        """
        names = [field.name for field in fields(self)]
        pairs = [(name, getattr(self, name), getattr(serving, name)) for name in names]
        return tuple(
            f"{name}: calibrated with {calibrated}, serving {served}"
            for name, calibrated, served in pairs
            if calibrated is not None and served is not None and calibrated != served
        )


def read_fingerprint(body: object, at: str, problems: list[str]) -> SettingsFingerprint:
    """The fingerprint of a JSON object; ``problems`` gains a line for all that is wrong."""
    return SettingsFingerprint(**read(body, _FINGERPRINT, at, problems))


_AMOUNT = Field(
    lambda v: (
        isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v <= sys.float_info.max
    ),
    "a number from 0 on",
    float,
)
_FINGERPRINT: Mapping[str, Field] = {
    "model": optional(TEXT),
    "chat_template": optional(TEXT),
    "temperature": optional(_AMOUNT),
    "top_p": optional(PROBABILITY),
    "top_k": optional(whole_from(0)),
    "min_p": optional(PROBABILITY),
    "max_tokens": optional(whole_from(1)),
    "dtype": optional(TEXT),
    "engine": optional(TEXT),
}
