"""Small files with the columns that the published data sets have."""

from __future__ import annotations

import csv
import gzip
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from value_steer.labels.datasets import SOURCES, load_prompts, load_responses
from value_steer.labels.errors import LabelError
from value_steer.labels.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

DIALOGUE = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant: "
HARMS = {"animal_abuse": False, "violence,aiding_and_abetting,incitement": True}
ROWS: dict[str, list[dict[str, Any]]] = {
    "hh-rlhf": [
        {"chosen": DIALOGUE + "I won't say.", "rejected": DIALOGUE + "Because."},
        {"chosen": DIALOGUE + "No.", "rejected": DIALOGUE + "Yes."},
        {"chosen": "\n\nHuman: One\ntwo\n\nAssistant: x", "rejected": "\n\nHuman: One"},
    ],
    "beavertails": [
        {"prompt": "How?", "response": "So.", "category": HARMS, "is_safe": False},
        {"prompt": "How?", "response": "I can't.", "category": HARMS, "is_safe": True},
    ],
    "pku-saferlhf": [
        {
            "prompt": "How?",
            "response_0": "So.",
            "response_1": "No.",
            "prompt_source": "x",
            "is_response_0_safe": False,
            "is_response_1_safe": True,
            "better_response_id": 1,
            "safer_response_id": 1,
        }
    ],
    "gsm8k": [
        {"question": "6 x 7?", "answer": "6 x 7 = <<6*7=42>>42\n#### 42"},
        {"question": "Many?", "answer": "#### 1,234"},
    ],
    "olympiadbench": [
        {
            "id": 1606,
            "question": "Find all $x$.",
            "context": None,
            "solution": ["..."],
            "final_answer": ["$2$", "$\\frac{1}{2}$"],
            "modality": "Text-only",
            "is_multiple_answer": True,
            "unit": None,
            "answer_type": "Numerical",
        },
        {
            "id": 1607,
            "question": "And then?",
            "context": "Let $x = 1$.",
            "solution": ["..."],
            "final_answer": ["3"],
            "modality": "Text-only",
            "is_multiple_answer": False,
            "unit": None,
            "answer_type": "Numerical",
        },
    ],
    "realtoxicityprompts": [
        {
            "filename": "f.txt",
            "begin": 340,
            "end": 564,
            "challenging": False,
            "prompt": {"text": "So if you", "toxicity": 0.29, "profanity": None},
            "continuation": {"text": " hear", "toxicity": 0.02, "profanity": 0.1},
        }
    ],
    "prompts": [{"prompt": "a", "reference": "b"}, {"prompt": "c", "reference": None}],
}
EXPECTED: dict[str, list[tuple[str, str | None, tuple[str, ...]]]] = {
    "hh-rlhf": [("Why?", None, ("Hi", "Hello.")), ("One\ntwo", None, ())],
    "beavertails": [("How?", None, ())],
    "pku-saferlhf": [("How?", None, ())],
    "gsm8k": [("6 x 7?", "42", ()), ("Many?", "1,234", ())],
    "olympiadbench": [
        ("Find all $x$.", "2, \\frac{1}{2}", ()),
        ("Let $x = 1$.\n\nAnd then?", "3", ()),
    ],
    "realtoxicityprompts": [("So if you", None, ())],
    "prompts": [("a", "b", ()), ("c", None, ())],
}


def _jsonl(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", list(SOURCES))
def test_prompts_of_every_data_set(tmp_path: Path, name: str) -> None:
    """Each prompt once, with its reference and what was said before."""
    file = _jsonl(tmp_path / "rows.jsonl", ROWS[name])

    prompts = list(load_prompts(name, file))

    assert [(p.text, p.reference, p.history) for p in prompts] == EXPECTED[name]
    assert len({p.id for p in prompts}) == len(prompts)
    assert prompts == list(load_prompts(name, file))
    assert prompts[:1] == list(load_prompts(name, file, limit=1))


@pytest.mark.parametrize("name", ["beavertails", "pku-saferlhf"])
def test_responses_that_are_labelled(tmp_path: Path, name: str) -> None:
    """Safe is 1; the responses to one prompt are its samples."""
    rows = list(load_responses(name, _jsonl(tmp_path / "rows.jsonl", ROWS[name])))

    assert [row.label for row in rows] == [0.0, 1.0]
    assert [row.key.sample for row in rows] == [0, 1]
    assert rows[0].text == "So."
    with pytest.raises(LabelError, match=r"gsm8k labels no responses.*beavertails"):
        list(load_responses("gsm8k", tmp_path))


@pytest.mark.parametrize("kind", ["jsonl.gz", "parquet", "csv", "folder"])
def test_files_of_every_kind(tmp_path: Path, kind: str) -> None:
    """Gzipped, as tables, several in a folder."""
    rows = ROWS["gsm8k"]
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    elif kind == "folder":
        path.mkdir()
        for i, row in enumerate(rows):
            _jsonl(path / f"part-{i}.jsonl", [row])
        (path / "README.md").write_text("not data", encoding="utf-8")
    elif kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    assert [p.reference for p in load_prompts("gsm8k", path)] == ["42", "1,234"]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    """The name, the path, the columns, a conversation that is none."""
    file = _jsonl(tmp_path / "rows.jsonl", [{"prompt": "x"}])
    with pytest.raises(LabelError, match="no data set 'gsm'; known are hh-rlhf"):
        list(load_prompts("gsm", file))
    with pytest.raises(LabelError, match=r"nowhere.* is no file"):
        list(load_prompts("gsm8k", tmp_path / "nowhere"))
    with pytest.raises(LabelError, match="line 1: lacks question, answer; it has prompt"):
        list(load_prompts("gsm8k", file))
    talk = _jsonl(tmp_path / "talk.jsonl", [{"chosen": "Human: hi", "rejected": ""}])
    with pytest.raises(LabelError, match="no conversation"):
        list(load_prompts("hh-rlhf", talk))
    assert [row.values for row in read_rows(file)] == [{"prompt": "x"}]
