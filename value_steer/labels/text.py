"""Verifiers that compare text: exact match, a pattern, a column that is there already."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.features.records import ResponseKey
from value_steer.labels.errors import LabelError
from value_steer.labels.verifier import reference_of
from value_steer.threshold import is_probability

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from value_steer.features.records import Response


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """1 where the response is the reference, up to case, white space and Unicode's forms."""

    name: str = "exact"

    def label(self, responses: Sequence[Response]) -> list[float]:
        """See :class:`value_steer.labels.Verifier`."""
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

    def label(self, responses: Sequence[Response]) -> list[float]:
        """See :class:`value_steer.labels.Verifier`."""
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
    def from_rows(
        cls, rows: Iterable[Mapping[str, object]], column: str, name: str | None = None
    ) -> PrecomputedColumn:
        """Read the labels of rows that have ``prompt_id``, ``sample`` (0 if absent) and a column.

        Raises:
            LabelError: A row lacks one of them, or holds something else there.
        """
        labels = {}
        for number, row in enumerate(rows):
            prompt_id, sample, label = row.get("prompt_id"), row.get("sample", 0), row.get(column)
            fits = isinstance(prompt_id, str) and isinstance(sample, int)
            if not fits or not isinstance(label, (int, float)):
                msg = (
                    f"row {number} must have a text prompt_id, a whole sample and a number "
                    f"{column}; it has {dict(row)}"
                )
                raise LabelError(msg)
            labels[ResponseKey(str(prompt_id), int(str(sample)))] = float(label)
        return cls(labels, name or column)

    def label(self, responses: Sequence[Response]) -> list[float]:
        """See :class:`value_steer.labels.Verifier`."""
        missing = [response.key for response in responses if response.key not in self._labels]
        if missing:
            msg = f"{len(missing)} responses have no label in {self.name}, the first {missing[0]}"
            raise LabelError(msg)
        return [self._labels[response.key] for response in responses]


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
