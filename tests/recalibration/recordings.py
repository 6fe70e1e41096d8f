"""Recorded traffic as servers write it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.calibration.material import walks
from value_steer.traffic import (
    RecordedAnswer,
    TrafficHead,
    TrafficHeader,
    answer_line,
    header_line,
)
from value_steer.value_probe import (
    HeadCard,
    Polarity,
    SettingsFingerprint,
    ValueHead,
    load_value_head,
    save_value_head,
)
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

HIDDEN = 4
SETTINGS = SettingsFingerprint(model="m", dtype="bfloat16", engine="vllm 0.28.0")


def saved(path: Path, scores: Polarity | None = Polarity.P_GOOD) -> Path:
    """A head."""
    save_value_head(path, ValueHead(HIDDEN), HeadCard(HIDDEN, scores=scores))
    return path


def entry(
    head: Path,
    mode: str = "abstain",
    scores: Polarity = Polarity.P_GOOD,
    rule: tuple[int, int] = (1, 1),
) -> TrafficHead:
    """A head in a header."""
    return TrafficHead(mode, "", weights_digest(load_value_head(head)), scores, *rule)


def answer(
    name: str, values: Sequence[float], *, head: int = 0, first: int = 0, tokens: int | None = None
) -> RecordedAnswer:
    """An answer that abstention judged from its prompt on, unless something else is said."""
    count = len(values) + first if tokens is None else tokens
    given = tuple(float(str(np.float32(value))) for value in values)
    return RecordedAnswer(
        id=name,
        choice=0,
        prompt_id=f"prompt of {name}",
        head=head,
        first=first,
        values=given,
        tokens=count,
        finish="stop",
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        max_tokens=64,
    )


def write(path: Path, heads: Sequence[TrafficHead], answers: Iterable[RecordedAnswer]) -> Path:
    """A file of recorded traffic."""
    path.parent.mkdir(exist_ok=True)
    lines = [header_line(TrafficHeader(0.01, SETTINGS, tuple(heads))), *map(answer_line, answers)]
    path.write_bytes(b"".join(lines))
    return path


def many(
    head: Path, count: int, *, seed: int, shift: float = 0.0, **changes: Any
) -> tuple[list[TrafficHead], list[RecordedAnswer], dict[str, float]]:
    """Answers to as many prompts, lower by a shift of the logit, and how good each is."""
    values, good = walks(np.random.default_rng(seed), count, tokens=20)
    logits = np.log(values.clip(1e-6, 1 - 1e-6) / (1 - values.clip(1e-6, 1 - 1e-6))) - shift
    rows = 1 / (1 + np.exp(-logits))
    answers = [
        replace(answer(f"cmpl-{i}", [0.5, *row[:-1].tolist()]), **changes)
        for i, row in enumerate(rows)
    ]
    labels = {one.id: float(label) for one, label in zip(answers, good, strict=True)}
    return [entry(head)], answers, labels
