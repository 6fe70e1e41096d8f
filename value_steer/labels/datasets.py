"""Prompts, and labelled responses, of known data sets, read from local files.

Every data set is read with the columns that its published files have. A prompt's id is made from
its text, so that it stays the same whichever files it is read from; a prompt that comes again is
left out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets

from value_steer.features.records import Prompt, Response, ResponseKey
from value_steer.labels.errors import LabelError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Row = Mapping[str, Any]

_BUILDERS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}
_TURN = re.compile(r"\n\n(Human|Assistant): ?")


@dataclass(frozen=True, slots=True)
class Source:
    """How a data set's rows are read.

    Attributes:
        columns: Which a row must have.
        prompt: The text of a row's prompt, its reference if it has one, and what was said before.
        responses: The labelled responses of a row: text, and 1 for a good one.
    """

    columns: tuple[str, ...]
    prompt: Callable[[Row], tuple[str, str | None, tuple[str, ...]]]
    responses: Callable[[Row], Iterable[tuple[str, float]]] | None = None


def load_prompts(
    name: str, path: str | os.PathLike[str], *, limit: int | None = None
) -> Iterator[Prompt]:
    """The prompts of a data set, each once, in the order of its files.

    Args:
        name: One of :data:`SOURCES`.
        path: A ``.json``, ``.jsonl``, ``.parquet`` or ``.csv`` file, gzipped or not, or a folder
            of such files of one kind.
        limit: Prompts at most.

    Raises:
        LabelError: The name is unknown, there are no such files, or a row lacks a column.
    """
    source = _source(name)
    seen: set[str] = set()
    for row in _rows(path, source.columns):
        prompt = _prompt(name, source, row)
        if limit is not None and len(seen) >= limit:
            return
        if prompt.id not in seen:
            seen.add(prompt.id)
            yield prompt


def load_responses(name: str, path: str | os.PathLike[str]) -> Iterator[Response]:
    """The responses that a data set has itself, with their labels; 1 is safe.

    Args:
        name: ``beavertails`` or ``pku-saferlhf``.
        path: See :func:`load_prompts`.

    Raises:
        LabelError: As for prompts, or the data set labels no responses.
    """
    source = _source(name)
    if source.responses is None:
        having = ", ".join(key for key, other in SOURCES.items() if other.responses)
        msg = f"{name} labels no responses; these data sets do: {having}"
        raise LabelError(msg)
    counts: dict[str, int] = {}
    for row in _rows(path, source.columns):
        prompt = _prompt(name, source, row)
        for text, label in source.responses(row):
            sample = counts.get(prompt.id, 0)
            counts[prompt.id] = sample + 1
            yield Response(ResponseKey(prompt.id, sample), prompt.text, text, label=label)


def read_rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The rows of local files as they are.

    Raises:
        LabelError: There are no such files.
    """
    return _rows(path, ())


def _source(name: str) -> Source:
    if name not in SOURCES:
        msg = f"there is no data set {name!r}; known are {', '.join(SOURCES)}"
        raise LabelError(msg)
    return SOURCES[name]


def _prompt(name: str, source: Source, row: Row) -> Prompt:
    text, reference, history = source.prompt(row)
    digest = hashlib.sha256("\0".join([*history, text]).encode()).hexdigest()
    return Prompt(f"{name}-{digest[:16]}", text, reference, history)


def _rows(path: str | os.PathLike[str], columns: tuple[str, ...]) -> Iterator[Row]:
    builder, files = _files(Path(path))
    rows = datasets.load_dataset(builder, data_files=files, split="train", streaming=True)
    for number, row in enumerate(rows):
        missing = [column for column in columns if row.get(column) is None]
        if missing:
            msg = (
                f"{path}: row {number} lacks {', '.join(missing)}; it has "
                f"{', '.join(row)}. Is it another data set, or another split?"
            )
            raise LabelError(msg)
        yield row


def _files(path: Path) -> tuple[str, list[str]]:
    """What reads these files, and the files."""
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    kinds = {file: _BUILDERS.get(_suffix(file)) for file in found if file.is_file()}
    known = {file: kind for file, kind in kinds.items() if kind is not None}
    if len(set(known.values())) != 1:
        msg = f"{path} is no file, or folder of files of one kind, with {', '.join(_BUILDERS)}"
        raise LabelError(msg)
    return next(iter(known.values())), [str(file) for file in known]


def _suffix(file: Path) -> str:
    return Path(file.stem).suffix if file.suffix == ".gz" else file.suffix


def _hh(row: Row) -> tuple[str, str | None, tuple[str, ...]]:
    """The conversation up to the assistant's last turn, which is what the two columns differ in."""
    _, *parts = _TURN.split(row["chosen"])
    roles, said = parts[::2], [text.strip() for text in parts[1::2]]
    if not roles or roles != ["Human", "Assistant"] * (len(roles) // 2):
        msg = f"chosen is no conversation that ends with the assistant: {row['chosen'][:80]!r}"
        raise LabelError(msg)
    *history, text, _ = said
    return text, None, tuple(history)


def _olympiad(row: Row) -> tuple[str, str | None, tuple[str, ...]]:
    context = row.get("context")
    text = f"{context}\n\n{row['question']}" if context else row["question"]
    answers = row["final_answer"]
    return text, ", ".join(str(answer).strip().strip("$") for answer in answers), ()


def _gsm8k(row: Row) -> tuple[str, str | None, tuple[str, ...]]:
    return row["question"], row["answer"].rpartition("####")[2].strip(), ()


def _plain(row: Row) -> tuple[str, str | None, tuple[str, ...]]:
    return row["prompt"], None, ()


def _toxicity(row: Row) -> tuple[str, str | None, tuple[str, ...]]:
    return row["prompt"]["text"], None, ()


def _referenced(row: Row) -> tuple[str, str | None, tuple[str, ...]]:
    return row["prompt"], row.get("reference"), ()


SOURCES: Mapping[str, Source] = {
    "hh-rlhf": Source(("chosen", "rejected"), _hh),
    "beavertails": Source(
        ("prompt", "response", "is_safe"),
        _plain,
        lambda row: [(row["response"], float(row["is_safe"]))],
    ),
    "pku-saferlhf": Source(
        ("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"),
        _plain,
        lambda row: [(row[f"response_{i}"], float(row[f"is_response_{i}_safe"])) for i in range(2)],
    ),
    "gsm8k": Source(("question", "answer"), _gsm8k),
    "olympiadbench": Source(("question", "final_answer"), _olympiad),
    "realtoxicityprompts": Source(("prompt",), _toxicity),
    "prompts": Source(("prompt",), _referenced),
}
"""The data sets by name; ``prompts`` is any file with ``prompt`` and maybe ``reference``."""
