"""Verifiers that compare text: exact match, a pattern, a column that is there already."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.features.records import ResponseKey
from value_steer.labels.errors import LabelError
from value_steer.labels.rows import (
    TEXT_COLUMN,
    Row,
    checked,
    number_column,
    read_rows,
    whole_column,
)
from value_steer.labels.verifier import reference_of
from value_steer.records.fields import PROBABILITY, whole_from
from value_steer.threshold import is_probability

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from value_steer.features.records import Response
    from value_steer.labels.verifier import Setting

_RULES = 1
"""Changes with what the verifiers of this module do."""


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """1 where the response is the reference, up to case, white space and Unicode's forms."""

    name: str = "exact"

    @property
    def settings(self) -> Mapping[str, Setting]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        return {"verifier": "exact match", "rules": _RULES}

    def label(self, responses: Sequence[Response]) -> list[float]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        return [float(_plain(one.text) == _plain(reference_of(one))) for one in responses]


class RegularExpression:
    """1 where a pattern is found in the response, or, with ``good=False``, where it is not.

    Args:
        pattern: In Python's syntax.
        good: What a match means.
        name: Under which the labels are stored.

    Raises:
        LabelError: The pattern is none.
    """

    def __init__(self, pattern: str, *, good: bool = True, name: str = "regex") -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            msg = f"{pattern!r} is no regular expression: {error}"
            raise LabelError(msg) from error
        self._good = good
        self.name = name

    @property
    def settings(self) -> Mapping[str, Setting]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        return {
            "verifier": "pattern",
            "rules": _RULES,
            "pattern": self._pattern.pattern,
            "a match is": "good" if self._good else "bad",
        }

    def label(self, responses: Sequence[Response]) -> list[float]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        found = [self._pattern.search(response.text) is not None for response in responses]
        return [float(match is self._good) for match in found]


class PrecomputedColumn:
    """Labels that somebody else has made.

    Args:
        labels: One per response.
        name: Under which they are stored.

    Raises:
        LabelError: One is no number from 0 to 1.
    """

    def __init__(self, labels: Mapping[ResponseKey, float], name: str = "column") -> None:
        for key, label in labels.items():
            if not is_probability(label):
                msg = f"the label of {key} is {label!r}; it must be a number from 0 to 1"
                raise LabelError(msg)
        self._labels = labels
        self.name = name

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], column: str, name: str | None = None
    ) -> PrecomputedColumn:
        """Read the labels of a file, or of a folder of files; see :meth:`from_rows`.

        Raises:
            LabelError: As for rows, or the file cannot be read.
        """
        return cls(_labels_of(read_rows(path), column), name or column)

    @classmethod
    def from_rows(
        cls, rows: Iterable[Mapping[str, object]], column: str, name: str | None = None
    ) -> PrecomputedColumn:
        """Read the labels of rows that have ``prompt_id``, ``sample`` (0 if absent) and a column.

        Raises:
            LabelError: A row lacks one of them, holds something else there, or gives a response
                a second label.
        """
        placed = (Row(f"row {number}", row) for number, row in enumerate(rows))
        return cls(_labels_of(placed, column), name or column)

    @property
    def settings(self) -> Mapping[str, Setting]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        rows = sorted((*key, label) for key, label in self._labels.items())
        content = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        return {"verifier": "column", "rules": _RULES, "labels": content}

    def label(self, responses: Sequence[Response]) -> list[float]:
        """See :class:`value_steer.labels.verifier.Verifier`."""
        missing = [response.key for response in responses if response.key not in self._labels]
        if missing:
            msg = f"{len(missing)} responses have no label in {self.name}, the first {missing[0]}"
            raise LabelError(msg)
        return [self._labels[response.key] for response in responses]


def _labels_of(rows: Iterable[Row], column: str) -> dict[ResponseKey, float]:
    columns = {
        "prompt_id": TEXT_COLUMN,
        "sample": whole_column(whole_from(0), required=False),
        column: number_column(PROBABILITY),
    }
    labels: dict[ResponseKey, float] = {}
    for row in rows:
        values = checked(row, columns)
        key = ResponseKey(values["prompt_id"], values.get("sample", 0))
        if key in labels:
            msg = f"{row.at}: {key} has a label already"
            raise LabelError(msg)
        labels[key] = values[column]
    return labels


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
