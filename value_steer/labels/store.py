"""Labels beside a feature cache: what made them, then one line of JSON each, appended as they come.

A label belongs to the response that was labelled and to the verifier's settings. A file that was
made by other settings is refused with the difference, or made anew; a label of a response that has
changed since is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filelock import FileLock

from value_steer.features.records import Response, ResponseKey
from value_steer.labels.errors import LabelError, StaleLabelsError, UnreadableError
from value_steer.records.codec import parse_json
from value_steer.records.differences import differences
from value_steer.threshold import is_probability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from value_steer.features.cache import FeatureCache
    from value_steer.labels.verifier import Setting, Verifier

FORMAT = 2
"""Version of the file's format."""

MAX_UNREADABLE = 0.02
"""Share of responses whose verdict may be unreadable, if nothing else is asked for."""

_NAME = re.compile(r"[\w.-]{1,120}")


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file of labels as it stands.

    Attributes:
        made_by: The settings of its verifier.
        labels: And the digest of the response that each belongs to; ``None``: unreadable.
        whole: Bytes that its whole lines take.
    """

    made_by: Mapping[str, Setting]
    labels: dict[ResponseKey, tuple[float | None, str]] = field(default_factory=dict)
    whole: int = 0


def label_cache(  # noqa: PLR0913  (what to label, by what, and how strictly)
    cache: FeatureCache,
    verifier: Verifier,
    *,
    name: str | None = None,
    batch: int = 256,
    again: bool = False,
    max_unreadable: float = MAX_UNREADABLE,
    after_batch: Callable[[int], None] | None = None,
) -> dict[ResponseKey, float | None]:
    """Label every response of a cache that has none of this name yet.

    Labels are kept after every batch, so that a run that is killed goes on where it stopped.

    Args:
        cache: Whose responses.
        verifier: Where labels come from.
        name: Under which they are stored; by default the verifier's.
        batch: Responses per call of the verifier.
        again: Make labels anew that are there already.
        max_unreadable: Share of the responses whose verdict may be unreadable.
        after_batch: Called with the number of responses that have just been labelled.

    Returns:
        All labels of this name; ``None`` for a response whose verdict could not be read.

    Raises:
        StaleLabelsError: Those that are there were made by a verifier with other settings; the
            differences are named.
        UnreadableError: More verdicts are unreadable than is allowed. What was read is kept.
        LabelError: The file of labels is damaged, or a label is no number from 0 to 1.
        ValueSteerError: The verifier cannot label a response.
    """
    name = verifier.name if name is None else name
    file = label_file(cache, name)
    file.parent.mkdir(exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        stored = _resumed(file, verifier.settings, again=again)
        responses = [one for shard in cache.shards for one in cache.responses(shard)]
        labels = _current(stored, responses)
        waiting = [one for one in responses if one.key not in labels]
        allowed = int(max_unreadable * len(responses))
        _require_readable(labels, allowed, file)
        for begin in range(0, len(waiting), batch):
            some = waiting[begin : begin + batch]
            new = dict(zip((one.key for one in some), verifier.label(some), strict=True))
            _append(file, some, new, name)
            labels |= new
            if after_batch is not None:
                after_batch(len(new))
            _require_readable(labels, allowed, file)
    return labels


def read_labels(cache: FeatureCache, name: str) -> dict[ResponseKey, float | None]:
    """The labels of a cache that are stored under a name; ``None``: its verdict was unreadable.

    Raises:
        StaleLabelsError: A label belongs to a response that has been captured anew since.
        LabelError: There are none, or their file is damaged.
    """
    file = label_file(cache, name)
    if not file.exists():
        found = ", ".join(sorted(path.stem for path in file.parent.glob("*.jsonl"))) or "none"
        msg = f"{cache.folder} has no labels {name!r}; there are: {found}"
        raise LabelError(msg)
    stored = _read(file)
    responses = [one for shard in cache.shards for one in cache.responses(shard)]
    labels = _current(stored, responses)
    stale = [one.key for one in responses if one.key in stored.labels and one.key not in labels]
    if stale:
        msg = (
            f"{file}: {len(stale)} labels are of responses that have been captured anew since, the "
            f"first of {stale[0]}; run the same value-steer label again"
        )
        raise StaleLabelsError(msg)
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


def _resumed(file: Path, settings: Mapping[str, Setting], *, again: bool) -> _Stored:
    """The content of a file, which then ends with a whole line and may be appended to."""
    if file.exists() and not again:
        stored = _read(file)
        if stored.whole:
            if different := differences(stored.made_by, settings):
                msg = (
                    f"{file} was made otherwise than is asked for now: {'; '.join(different)}. "
                    "Replace it with --again, or keep both with --name"
                )
                raise StaleLabelsError(msg)
            os.truncate(file, stored.whole)
            return stored
    header = json.dumps({"labels": FORMAT, "made_by": dict(settings)}, ensure_ascii=False) + "\n"
    file.write_text(header, encoding="utf-8")
    return _Stored(settings)


def _current(stored: _Stored, responses: Sequence[Response]) -> dict[ResponseKey, float | None]:
    """The stored labels that belong to these very responses."""
    return {
        one.key: stored.labels[one.key][0]
        for one in responses
        if one.key in stored.labels and stored.labels[one.key][1] == _digest(one)
    }


def _digest(response: Response) -> str:
    """Of all that a verifier sees of a response."""
    seen = [response.prompt, response.text, response.finish, response.reference]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]


def _require_readable(labels: Mapping[ResponseKey, float | None], allowed: int, file: Path) -> None:
    unreadable = [key for key, label in labels.items() if label is None]
    if len(unreadable) > allowed:
        msg = (
            f"{len(unreadable)} verdicts could not be read, more than the {allowed} that are "
            f"allowed here, the first of {unreadable[0]}; they are no labels. Correct what made "
            f"them and give --again, or allow a larger share with --max-unreadable ({file})"
        )
        raise UnreadableError(msg)


def _read(file: Path) -> _Stored:
    """A file of labels; what follows the last whole line was cut short by a kill."""
    labels: dict[ResponseKey, tuple[float | None, str]] = {}
    made_by: Mapping[str, Setting] = {}
    whole = 0
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.endswith(b"\n"):
                break
            at = f"{file}: line {number}"
            if number == 1:
                made_by = _header(_json(line, at), at)
            else:
                key, label, digest = _row(_json(line, at), at)
                labels[key] = label, digest
            whole += len(line)
    return _Stored(made_by, labels, whole)


def _json(line: bytes, at: str) -> object:
    try:
        return parse_json(line)
    except ValueError as error:
        msg = f"{at} is no JSON ({error}); delete the line and label again"
        raise LabelError(msg) from error


def _header(body: object, at: str) -> Mapping[str, Setting]:
    match body:
        case {"labels": int(found), "made_by": dict(made_by)} if found == FORMAT and all(
            value is None or isinstance(value, (str, int, float)) for value in made_by.values()
        ):
            return made_by
    msg = (
        f"{at} does not say what made these labels, as files of an older version do not; make "
        "them again with value-steer label --again"
    )
    raise StaleLabelsError(msg)


def _row(body: object, at: str) -> tuple[ResponseKey, float | None, str]:
    match body:
        case [str(), bool(), *_]:
            pass  # true and false are whole numbers to Python
        case [str(prompt_id), int(sample), None, str(digest)]:
            return ResponseKey(prompt_id, sample), None, digest
        case [str(prompt_id), int(sample), float() | int() as label, str(digest)] if is_probability(
            label
        ):
            return ResponseKey(prompt_id, sample), float(label), digest
    msg = (
        f"{at} is not [prompt_id, sample, label from 0 to 1 or null, digest]; delete the line and "
        "label again"
    )
    raise LabelError(msg)


def _append(
    file: Path, responses: Sequence[Response], labels: Mapping[ResponseKey, float | None], name: str
) -> None:
    for key, label in labels.items():
        if label is not None and not is_probability(label):
            msg = f"{name} gave {label!r} for {key}; a label is a number from 0 to 1"
            raise LabelError(msg)
    rows = [[*one.key, labels[one.key], _digest(one)] for one in responses]
    with file.open("a", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        handle.flush()
        os.fsync(handle.fileno())
