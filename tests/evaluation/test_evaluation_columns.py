"""The file of further columns belongs to its trajectories line for line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.evaluation.traces import trace
from value_steer.errors import DataError
from value_steer.evaluation.columns import read_columns

if TYPE_CHECKING:
    from pathlib import Path

TRACES = [trace([0.5, 0.5], prompt="a"), trace([0.5], prompt="b")]


def read(tmp_path: Path, *lines: str) -> tuple[object, ...]:
    """Write lines and read them as the columns of the two trajectories."""
    path = tmp_path / "columns.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = read_columns(path, TRACES)
    tokens = None if columns.confidence is None else [c.tolist() for c in columns.confidence]
    return columns.self_assessment, tokens


def test_columns_are_read_in_order(tmp_path: Path) -> None:
    """Either may be left out."""
    both = read(
        tmp_path,
        '{"prompt_id": "a", "self_assessment": 0.4, "confidence": [9, 8.5]}',
        '{"prompt_id": "b", "self_assessment": 1, "confidence": [7]}',
    )
    neither = read(tmp_path, '{"prompt_id": "a"}', '{"prompt_id": "b"}')

    assert both == ((0.4, 1), [[9.0, 8.5], [7.0]])
    assert neither == (None, None)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"prompt_id": "a"}'], "has 1 lines for 2 trajectories"),
        (['{"prompt_id": "a"}', '{"prompt_id": "c"}'], "line 2: prompt_id 'c': .* is of 'b'"),
        (['{"prompt_id": "a", "confidence": [1]}', '{"prompt_id": "b"}'], "each of 2 tokens"),
        (['{"prompt_id": "a", "self_assessment": 1}', '{"prompt_id": "b"}'], "on 1 of 2 lines"),
        (['{"prompt_id": "a"', '{"prompt_id": "b"}'], "line 1 is not valid JSON"),
        (['{"prompt_id": "a", "other": 1}', '{"prompt_id": "b"}'], "other"),
        (['{"prompt_id": "a", "self_assessment": true}', '{"prompt_id": "b"}'], "a number"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, lines: list[str], words: str) -> None:
    """With its line."""
    with pytest.raises(DataError, match=words):
        read(tmp_path, *lines)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With what to give."""
    with pytest.raises(DataError, match="give a file of JSON lines"):
        read_columns(tmp_path / "none.jsonl", TRACES)
