"""A path is a path, types are those declared, and what is wrong is named by file, row, field."""

from __future__ import annotations

import csv
import gzip
import json
from typing import TYPE_CHECKING, Any

import pyarrow
import pytest
from pyarrow import parquet

from value_steer.labels.datasets import load_prompts, load_responses
from value_steer.labels.errors import BadRowError, LabelError
from value_steer.labels.rows import read_rows
from value_steer.labels.text import PrecomputedColumn

if TYPE_CHECKING:
    from pathlib import Path

HELLO = "\n\nHuman: Hi\n\nAssistant: Hello."


def _jsonl(file: Path, *rows: dict[str, Any]) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ("set[1].jsonl", "set1.jsonl"),
        ("a*b.jsonl", "aXXb.jsonl"),
        ("a?b.jsonl", "aXb.jsonl"),
        ("run[v2]/x.jsonl", "runv/x.jsonl"),
        ("{a,b}.jsonl", "a.jsonl"),
    ],
)
def test_a_path_is_a_path(tmp_path: Path, asked: str, other: str) -> None:
    """No character of it is a wildcard; a folder's name neither."""
    _jsonl(tmp_path / other, {"prompt": "other"})
    with pytest.raises(LabelError):
        list(load_prompts("prompts", tmp_path / asked))
    file = _jsonl(tmp_path / asked, {"prompt": "asked"})

    assert [one.text for one in load_prompts("prompts", file)] == ["asked"]
    if "/" in asked:
        assert [one.text for one in load_prompts("prompts", file.parent)] == ["asked"]


@pytest.mark.parametrize(
    ("name", "row", "field"),
    [
        ("prompts", {"prompt": "x", "reference": 42}, "reference = 42: must be text"),
        ("prompts", {"prompt": "x", "reference": ["a"]}, "reference = "),
        ("prompts", {"prompt": "x", "reference": True}, "reference = True"),
        ("prompts", {"prompt": 7}, "prompt = 7: must be text"),
        ("prompts", {"prompt": " "}, "prompt = ' ': must be text, not empty"),
        ("prompts", {"prompt": [{"role": "user", "content": "x"}]}, "prompt = "),
        ("prompts", {"messages": [{"role": "user", "content": "x"}]}, "lacks prompt; it has mess"),
        ("gsm8k", {"question": "x", "answer": 5}, "answer = 5: must be text"),
        ("gsm8k", {"question": "x", "answer": "5"}, "answer does not end in '#### '"),
        ("gsm8k", {"question": "x", "answer": "5 ####"}, "answer does not end in '#### '"),
        ("olympiadbench", {"question": "x", "final_answer": [12]}, "final_answer = "),
        ("olympiadbench", {"question": "x", "final_answer": 12}, "final_answer = 12"),
        ("olympiadbench", {"question": "x", "final_answer": []}, "final_answer = "),
        ("realtoxicityprompts", {"prompt": {"toxicity": 1}}, "prompt = "),
        ("hh-rlhf", {"chosen": HELLO + HELLO[11:], "rejected": ""}, "Human and Assistant altern"),
        ("hh-rlhf", {"chosen": "\n\nHuman: Hi", "rejected": ""}, "its turns: Human"),
        ("hh-rlhf", {"chosen": "x" + HELLO, "rejected": ""}, "begins 'x"),
        (
            "hh-rlhf",
            {"chosen": "\n\nHuman: \n\nAssistant: a", "rejected": ""},
            "Human says is empty",
        ),
        ("beavertails", {"prompt": "x", "response": "y", "is_safe": "False"}, "is_safe = 'False'"),
        ("beavertails", {"prompt": "x", "response": "y", "is_safe": 0}, "is_safe = 0"),
        ("beavertails", {"prompt": "x", "response": None, "is_safe": True}, "lacks response"),
    ],
)
def test_a_field_of_another_type_is_named(
    tmp_path: Path, name: str, row: dict[str, Any], field: str
) -> None:
    """With the file and the line, before anything is made of the rows."""
    file = _jsonl(tmp_path / "rows.jsonl", row)

    with pytest.raises(BadRowError, match=r"rows\.jsonl: line 1") as caught:
        list(load_prompts(name, file))

    assert field in str(caught.value)


def test_text_stays_text(tmp_path: Path) -> None:
    """A number in a CSV file, a date in JSON."""
    file = tmp_path / "rows.csv"
    file.write_text('prompt,reference\n00501,1e5\n"a\nb",\n', encoding="utf-8")
    dates = _jsonl(
        tmp_path / "d.jsonl", {"prompt": "2020-01-02", "reference": "2020-01-02T03:04:05"}
    )

    assert [(p.text, p.reference) for p in load_prompts("prompts", file)] == [
        ("00501", "1e5"),
        ("a\nb", None),
    ]
    (prompt,) = load_prompts("prompts", dates)
    assert (prompt.text, prompt.reference) == ("2020-01-02", "2020-01-02T03:04:05")


def test_flags_of_csv_are_the_two_words(tmp_path: Path) -> None:
    """Any other word is refused."""
    file = tmp_path / "rows.csv"
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("prompt", "response", "is_safe"), ("a", "", "False")])
    (one,) = load_responses("beavertails", file)
    assert (one.text, one.label) == ("", 0.0)

    file.write_text(file.read_text(encoding="utf-8").replace("False", "no"), encoding="utf-8")
    with pytest.raises(BadRowError, match="line 2: is_safe = 'no': must be true or false"):
        list(load_responses("beavertails", file))


def test_one_answer_as_text(tmp_path: Path) -> None:
    """A mirror of OlympiadBench; its letters are not answers."""
    row = {"question": "x", "final_answer": "$12$"}
    (prompt,) = load_prompts("olympiadbench", _jsonl(tmp_path / "o.jsonl", row))

    assert prompt.reference == "12"


def test_bad_rows_are_counted_or_stop(tmp_path: Path) -> None:
    """Others of the file are read."""
    good = {"chosen": HELLO, "rejected": ""}
    file = _jsonl(tmp_path / "hh.jsonl", good, {"chosen": "none", "rejected": ""}, good)
    bad: list[BadRowError] = []

    assert len(list(load_prompts("hh-rlhf", file, on_bad_row=bad.append))) == 1
    assert [str(error).split(": ")[1] for error in bad] == ["line 2"]
    with pytest.raises(BadRowError, match=r"hh\.jsonl: line 2"):
        list(load_prompts("hh-rlhf", file))


def test_a_prompt_with_two_references(tmp_path: Path) -> None:
    """Neither is silently lost."""
    rows = [{"prompt": "x", "reference": "1"}, {"prompt": "x", "reference": "2"}]

    with pytest.raises(BadRowError, match=r"line 2: this prompt .* reference '1'; here it is '2'"):
        list(load_prompts("prompts", _jsonl(tmp_path / "p.jsonl", *rows)))


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b"\n \n", "has no rows"),
        ("a.jsonl", b'{"prompt": "x"}\n{"prompt": ', "line 2 is not valid JSON"),
        ("a.jsonl", b'{"prompt": "x", "prompt": "y"}', "'prompt' occurs more than once"),
        ("a.jsonl", b'{"prompt": "\\ud800"}', "half of a surrogate pair"),
        ("a.jsonl", b"[1]\n", "line 1 is list, not an object"),
        ("a.jsonl", '{"prompt": "é"}'.encode("latin-1"), "line 1 is not valid JSON"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid x\n", "run git lfs pull"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid x\n", "run git lfs pull"),
        ("a.parquet", b"PAR1 none", "cannot be read as Parquet"),
        ("a.jsonl.gz", b"not gzipped", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"prompt": "x"}\n' * 99, mtime=0)[:-9], "cannot be read"),
        ("a.json", b'[{"prompt": "x"}, 3]', "row 2 is int, not an object"),
        ("a.json", b'[{"prompt": "x"}', "a.json is not valid JSON"),
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"prompt,prompt\na,b\n", "names a column twice"),
        ("a.csv", b"prompt,reference\na\n", "line 2 has not the 2 cells"),
        ("a.csv", b"prompt\na,b\n", "line 2 has not the 1 cells"),
        ("a.csv", "prompt\né\n".encode("latin-1"), "write it as UTF-8"),
        ("a.txt", b"x", "is no file, or folder"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, body: bytes, words: str) -> None:
    """Is one error of ours that names it."""
    file = tmp_path / name
    file.write_bytes(body)

    with pytest.raises(LabelError, match="a\\.") as caught:
        list(read_rows(file))

    assert words in str(caught.value)


def test_a_mark_at_the_beginning_is_no_text(tmp_path: Path) -> None:
    """Some editors write one."""
    for name, body in (("a.jsonl", '{"prompt": "x"}'), ("a.csv", "prompt\nx\n")):
        file = tmp_path / name
        file.write_bytes(b"\xef\xbb\xbf" + body.encode())
        assert [row.values["prompt"] for row in read_rows(file)] == ["x"]


@pytest.mark.parametrize("number", ["0_1", "\uff11", "\u0661", " 1", "1 "])
def test_a_number_in_csv_is_plain(number: str, tmp_path: Path) -> None:
    """Python reads more as one: ``0_1`` is 1 to it."""
    file = tmp_path / "a.csv"
    file.write_text(f"prompt_id,label\np,{number}\n", encoding="utf-8")

    with pytest.raises(LabelError, match=r"line 2: label = "):
        PrecomputedColumn.from_file(file, "label")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """In Parquet as in CSV: which of the two holds the labels?"""
    columns = [pyarrow.array(["p"]), pyarrow.array([0.0]), pyarrow.array([1.0])]
    table = pyarrow.Table.from_arrays(columns, names=["prompt_id", "label", "label"])
    parquet.write_table(table, tmp_path / "a.parquet")

    with pytest.raises(LabelError, match="a column twice: prompt_id, label, label"):
        list(read_rows(tmp_path / "a.parquet"))


def test_a_file_and_its_gzip_are_not_both_read(tmp_path: Path) -> None:
    """Each row would count twice."""
    (tmp_path / "a.jsonl").write_text('{"prompt": "p"}\n', encoding="utf-8")
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as packed:
        packed.write(b'{"prompt": "p"}\n')

    with pytest.raises(LabelError, match="count twice"):
        list(read_rows(tmp_path))
