"""Labels of recorded answers, joined by the ids of their requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.errors import DataError
from value_steer.records.fields import PROBABILITY, TEXT, listed, read, whole_from
from value_steer.records.lines import json_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from value_steer.recalibration.recorded import Answer, Traffic

_REMEDY = 'write one object a line, such as {"id": "chatcmpl-1", "label": 1.0}'


@dataclass(frozen=True, slots=True)
class Joined:
    """Answers with labels.

    Attributes:
        labelled: Each with how good it is, from 0 to 1.
        unlabelled: Answers without a label.
        ambiguous: Answers whose id others have as well, which labels cannot tell apart.
        unmatched: Labels of answers that were not recorded.
        contradicted: Answers with several labels that differ.
    """

    labelled: tuple[tuple[Answer, float], ...]
    unlabelled: int
    ambiguous: int
    unmatched: int
    contradicted: int


def read_labels(path: Path) -> dict[tuple[str, int], set[float]]:
    """Labels by the request's id and the number of its answer.

    Raises:
        DataError: Names the file, the line and what is wrong there.
    """
    found: dict[tuple[str, int], set[float]] = {}
    for body, at in json_lines(path, _REMEDY):
        problems: list[str] = []
        known = read(body, _LABEL, "", problems, ("id", "label"))
        if problems:
            msg = f"{at}: {listed(problems)}"
            raise DataError(msg)
        found.setdefault((known["id"], known.get("choice", 0)), set()).add(known["label"])
    return found


def join(traffic: Traffic, path: Path) -> Joined:
    """Give recorded answers their labels.

    Raises:
        DataError: The file cannot be used, or no label is of a recorded answer.
    """
    labels = read_labels(path)
    times = Counter(answer.key for answer in traffic.answers)
    labelled: list[tuple[Answer, float]] = []
    unlabelled = ambiguous = contradicted = 0
    matched: set[tuple[str, int]] = set()
    for answer in traffic.answers:
        key = next((one for one in _keys(answer) if one in labels), answer.key)
        own = labels.get(key)
        matched.add(key)
        if own is None:
            unlabelled += 1
        elif times[answer.key] > 1:
            ambiguous += 1
        elif len(own) > 1:
            contradicted += 1
        else:
            labelled.append((answer, next(iter(own))))
    unmatched = len(labels.keys() - matched)
    if not labelled:
        msg = (
            f"{path}: none of its {len(labels)} labels is the only one of a recorded answer whose "
            "id is its own; ids are those of answers over HTTP, or of LLM"
        )
        raise DataError(msg)
    return Joined(tuple(labelled), unlabelled, ambiguous, unmatched, contradicted)


def _keys(answer: Answer) -> Iterator[tuple[str, int]]:
    """The ids that labels may have for an answer: the engine's, and that of ``/v1/completions``.

    That API numbers the prompts of a request: the first one of ``cmpl-1`` is ``cmpl-1-0``. Choices
    of the other prompts are numbered on behind it, by how many there are of each.
    """
    yield answer.key
    if answer.id.startswith("cmpl-") and answer.id.endswith("-0"):
        yield answer.id.removesuffix("-0"), answer.choice


_LABEL = {"id": TEXT, "label": PROBABILITY, "choice": whole_from(0)}
