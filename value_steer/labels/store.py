"""Labels beside a feature cache: one line of JSON each, appended as they come."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from filelock import FileLock

from value_steer.features.records import ResponseKey
from value_steer.labels.errors import LabelError
from value_steer.records.codec import parse_json
from value_steer.threshold import is_probability

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from value_steer.features.cache import FeatureCache
    from value_steer.labels.verifier import Verifier

_NAME = re.compile(r"[\w.-]+")


def label_cache(
    cache: FeatureCache,
    verifier: Verifier,
    *,
    batch: int = 256,
    after_batch: Callable[[int], None] | None = None,
) -> dict[ResponseKey, float]:
    """Label every response of a cache that has none of this name yet.

    Labels are kept after every batch, so that a run that is killed goes on where it stopped.

    Args:
        cache: Whose responses.
        verifier: Where labels come from.
        batch: Responses per call of the verifier.
        after_batch: Called with the number of responses that have just been labelled.

    Returns:
        All labels of this name.

    Raises:
        LabelError: The file of labels is damaged, or a label is no number from 0 to 1.
        ValueSteerError: The verifier cannot label a response.
    """
    file = label_file(cache, verifier.name)
    file.parent.mkdir(exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        labels = _repaired(file)
        waiting = [
            response
            for shard in cache.shards
            for response in cache.responses(shard)
            if response.key not in labels
        ]
        for begin in range(0, len(waiting), batch):
            some = waiting[begin : begin + batch]
            new = dict(zip((one.key for one in some), verifier.label(some), strict=True))
            _append(file, new, verifier.name)
            labels |= new
            if after_batch is not None:
                after_batch(len(new))
    return labels


def read_labels(cache: FeatureCache, name: str) -> dict[ResponseKey, float]:
    """The labels of a cache that a verifier of this name gave.

    Raises:
        LabelError: There are none, or their file is damaged.
    """
    file = label_file(cache, name)
    if not file.exists():
        found = ", ".join(sorted(path.stem for path in file.parent.glob("*.jsonl"))) or "none"
        msg = f"{cache.folder} has no labels {name!r}; there are: {found}"
        raise LabelError(msg)
    labels, _ = _read(file)
    return labels


def label_file(cache: FeatureCache, name: str) -> Path:
    """Where labels of this name are.

    Raises:
        LabelError: It cannot be the name of a file.
    """
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name labels; use letters, digits, '-', '_' and '.'"
        raise LabelError(msg)
    return cache.folder / "labels" / f"{name}.jsonl"


def _read(file: Path) -> tuple[dict[ResponseKey, float], int]:
    """The labels of a file, and the number of bytes that its whole lines take."""
    labels: dict[ResponseKey, float] = {}
    whole = 0
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.endswith(b"\n"):
                break  # a kill in the middle of writing: this label is missing
            key, label = _parsed(line, f"{file}: line {number}")
            labels[key] = label
            whole += len(line)
    return labels, whole


def _parsed(line: bytes, at: str) -> tuple[ResponseKey, float]:
    try:
        row = parse_json(line)
    except ValueError as error:
        msg = f"{at} is no JSON ({error}); delete the line and label again"
        raise LabelError(msg) from error
    match row:
        case [str(prompt_id), int(sample), float() | int() as label] if is_probability(label):
            return ResponseKey(prompt_id, sample), float(label)
    msg = f"{at} is not [prompt_id, sample, label from 0 to 1]; delete the line and label again"
    raise LabelError(msg)


def _repaired(file: Path) -> dict[ResponseKey, float]:
    """The labels of a file, which then ends with a whole line."""
    if not file.exists():
        return {}
    labels, whole = _read(file)
    os.truncate(file, whole)
    return labels


def _append(file: Path, labels: dict[ResponseKey, float], name: str) -> None:
    for key, label in labels.items():
        if not is_probability(label):
            msg = f"{name} gave {label!r} for {key}; a label is a number from 0 to 1"
            raise LabelError(msg)
    lines = [json.dumps([*key, label], ensure_ascii=False) + "\n" for key, label in labels.items()]
    with file.open("a", encoding="utf-8") as handle:
        handle.writelines(lines)
        handle.flush()
        os.fsync(handle.fileno())
