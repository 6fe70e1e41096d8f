"""Columns that baselines need beside the values: a file of them, line for line.

``{"prompt_id": "7", "self_assessment": 0.4, "confidence": [11.2, 9.8, ...]}`` belongs to the
trajectory on the same line of the trajectory file; either column may be left out throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from value_steer.errors import DataError
from value_steer.records.fields import TEXT, Field, is_number, optional, read
from value_steer.records.lines import json_lines

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from value_steer.trajectories import Trajectory

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Further scores of the same responses, in the same order.

    Attributes:
        self_assessment: How sure the model says it is of each, before it answers.
        confidence: How sure it is of each token, from its log-probabilities.
    """

    self_assessment: tuple[float, ...] | None = None
    confidence: tuple[NDArray[np.float64], ...] | None = None


def read_columns(path: str | os.PathLike[str], traces: Sequence[Trajectory]) -> Columns:
    """Read the columns that belong to some trajectories.

    Raises:
        DataError: The file cannot be read, a line does not belong to its trajectory, or a column
            is not there throughout.
    """
    lines = list(json_lines(Path(path), "give a file of JSON lines"))
    if len(lines) != len(traces):
        msg = f"{path} has {len(lines)} lines for {len(traces)} trajectories; give one for each"
        raise DataError(msg)
    rows = [_row(body, trace, at) for (body, at), trace in zip(lines, traces, strict=True)]
    assessments = _throughout([row.get("self_assessment") for row in rows], "self_assessment", path)
    confidences = _throughout([row.get("confidence") for row in rows], "confidence", path)
    arrays = None if confidences is None else tuple(np.array(c, np.float64) for c in confidences)
    return Columns(assessments, arrays)


def _row(body: object, trace: Trajectory, at: str) -> dict[str, Any]:
    problems: list[str] = []
    row = read(body, _ROW, "", problems, ("prompt_id",))
    if not problems and row["prompt_id"] != trace.prompt_id:
        problems.append(f"prompt_id {row['prompt_id']!r}: its trajectory is of {trace.prompt_id!r}")
    if not problems and len(row.get("confidence") or trace.values) != trace.tokens:
        problems.append(f"confidence: one number for each of {trace.tokens} tokens")
    if problems:
        msg = f"{at}: {'; '.join(problems)}"
        raise DataError(msg)
    return row


def _throughout(
    column: Sequence[Value | None], name: str, path: str | os.PathLike[str]
) -> tuple[Value, ...] | None:
    given = tuple(value for value in column if value is not None)
    if given and len(given) != len(column):
        msg = f"{path}: {name} on {len(given)} of {len(column)} lines; give it on all or on none"
        raise DataError(msg)
    return given or None


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_number, value))


_ROW = {
    "prompt_id": TEXT,
    "self_assessment": optional(Field(is_number, "a number")),
    "confidence": optional(Field(_is_numbers, "a list of numbers, one for each token")),
}
