"""The file of recorded traffic: what a head said of answers that nothing acted on.

It is JSON Lines: one line that says which heads spoke and how the engine runs, then one line for
each answer and mode. No text is in it, of prompts or of answers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from value_steer.value_probe.card import Polarity
    from value_steer.value_probe.fingerprint import SettingsFingerprint

FORMAT = 1
"""Version of the file's format."""

MODES = ("abstain", "vfd")
"""Of an answer that both judge there are two lines."""


@dataclass(frozen=True, slots=True)
class TrafficHead:
    """A head of the engine.

    Attributes:
        mode: ``abstain``, whose values are P(good), or ``vfd``, whose are P(undesirable).
        name: Under which requests choose it; empty for the first one of its mode.
        digest: Of its weights as they lie in its file.
        scores: What it was taken to score itself, before it was turned to what its mode needs.
        min_tokens: Of the mode's section.
        patience: Of the mode's section.
    """

    mode: str
    name: str
    digest: str
    scores: Polarity
    min_tokens: int = 1
    patience: int = 1


@dataclass(frozen=True, slots=True)
class TrafficHeader:
    """Properties that all answers of a file share.

    Attributes:
        share: Of the requests that are in the control group.
        settings: What the engine knows of itself; how a request was sampled is in its line.
        heads: Of the engine; a line names one by its place.
    """

    share: float
    settings: SettingsFingerprint
    heads: tuple[TrafficHead, ...]


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One finished answer of the control group, as one head saw it.

    Attributes:
        id: The request's id as its caller knows it.
        choice: Which of its answers this is, from 0.
        prompt_id: Digest of the prompt's tokens.
        head: Place of the head in the header.
        first: Response tokens before the first value: 0 where that is of the prompt alone, or 1.
        values: Probabilities in the polarity of the mode, one for each token from there on.
        tokens: Of the response, the one that ends it counted. The last one may have no value,
            since nothing is decided after it.
        finish: ``stop`` or ``length``.
        temperature: As the request was sampled, and so on.
        top_p: 1 is off.
        top_k: 0 is off.
        min_p: 0 is off.
        max_tokens: Most response tokens.
    """

    id: str
    choice: int
    prompt_id: str
    head: int
    first: int
    values: tuple[float, ...]
    tokens: int
    finish: str
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_tokens: int | None


def header_line(header: TrafficHeader) -> bytes:
    """The first line of a file."""
    return _line({"traffic": FORMAT, **asdict(header)})


def answer_line(answer: RecordedAnswer) -> bytes:
    """The line of an answer."""
    return _line(asdict(answer))


def _line(body: object) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode() + b"\n"
