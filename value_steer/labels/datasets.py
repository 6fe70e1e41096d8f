"""Prompts, and labelled responses, of known data sets, read from local files.

Every data set is read with the columns that its published files have, each of its declared type. A
prompt's id is made from its text, so that it stays the same whichever files it is read from; a
prompt that comes again is left out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from value_steer.features.records import Prompt, Response, ResponseKey
from value_steer.labels.errors import BadRowError, LabelError
from value_steer.labels.rows import (
    FLAG_COLUMN,
    REFERENCE_COLUMN,
    RESPONSE_COLUMN,
    TEXT_COLUMN,
    Column,
    checked,
    read_rows,
)
from value_steer.records.fields import TEXT, Field

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Values = Mapping[str, Any]

_TURN = re.compile(r"\n\n(Human|Assistant): ?")


@dataclass(frozen=True, slots=True)
class Source:
    """How a data set's rows are read.

    Attributes:
        columns: What a row must have, and what it may have.
        prompt: The text of a row's prompt, its reference if it has one, and what was said before.
            What the types do not say and is wrong all the same is a ``ValueError``.
        responses: The labelled responses of a row: text, and 1 for a good one.
    """

    columns: Mapping[str, Column]
    prompt: Callable[[Values], tuple[str, str | None, tuple[str, ...]]]
    responses: Callable[[Values], Iterable[tuple[str, float]]] | None = None


def load_prompts(
    name: str,
    path: str | os.PathLike[str],
    *,
    limit: int | None = None,
    on_bad_row: Callable[[BadRowError], None] | None = None,
) -> Iterator[Prompt]:
    """The prompts of a data set, each once, in the order of its files.

    Args:
        name: One of :data:`SOURCES`.
        path: A ``.json``, ``.jsonl``, ``.parquet`` or ``.csv`` file, gzipped or not, or a folder
            of such files of one kind. No character of it is a wildcard.
        limit: Prompts at most.
        on_bad_row: Called with what is wrong with a row, which is then left out; by default the
            first such row is an error.

    Raises:
        BadRowError: A row lacks a column, has one of another type, holds no conversation where
            there should be one, or repeats a prompt with another reference.
        LabelError: The name is unknown, there are no such files, or one cannot be read.
    """
    source = _source(name)
    seen: dict[str, str | None] = {}
    for row in read_rows(path):
        if limit is not None and len(seen) >= limit:
            return
        try:
            prompt = _prompt(name, source, checked(row, source.columns), row.at)
            _require_same(prompt, seen, row.at)
        except BadRowError as error:
            if on_bad_row is None:
                raise
            on_bad_row(error)
            continue
        if prompt.id not in seen:
            seen[prompt.id] = prompt.reference
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
    for row in read_rows(path):
        values = checked(row, source.columns)
        prompt = _prompt(name, source, values, row.at)
        for text, label in source.responses(values):
            sample = counts.get(prompt.id, 0)
            counts[prompt.id] = sample + 1
            yield Response(ResponseKey(prompt.id, sample), prompt.text, text, label=label)


def _source(name: str) -> Source:
    if name not in SOURCES:
        msg = f"there is no data set {name!r}; known are {', '.join(SOURCES)}"
        raise LabelError(msg)
    return SOURCES[name]


def _prompt(name: str, source: Source, values: Values, at: str) -> Prompt:
    try:
        text, reference, history = source.prompt(values)
    except ValueError as error:
        msg = f"{at}: {error}"
        raise BadRowError(msg) from error
    digest = hashlib.sha256("\0".join([*history, text]).encode()).hexdigest()
    return Prompt(f"{name}-{digest[:16]}", text, reference, history)


def _require_same(prompt: Prompt, seen: Mapping[str, str | None], at: str) -> None:
    """A prompt that comes again is left out, and its reference must not be lost with it."""
    if seen.get(prompt.id, prompt.reference) != prompt.reference:
        msg = (
            f"{at}: this prompt has come before, with the reference {seen[prompt.id]!r}; here it "
            f"is {prompt.reference!r}"
        )
        raise BadRowError(msg)


def _hh(row: Values) -> tuple[str, str | None, tuple[str, ...]]:
    """The conversation up to the assistant's last turn, which is what the two columns differ in."""
    before, *parts = _TURN.split(row["chosen"])
    roles, said = parts[::2], [text.strip() for text in parts[1::2]]
    if before.strip() or not roles or roles != ["Human", "Assistant"] * (len(roles) // 2):
        turns = " ".join(roles) or "none"
        msg = (
            "chosen is no conversation in which Human and Assistant alternate and the assistant "
            f"is last; its turns: {turns}; it begins {row['chosen'][:60]!r}"
        )
        raise ValueError(msg)
    *history, text, _ = said
    if not text:
        msg = "chosen: the last thing that Human says is empty"
        raise ValueError(msg)
    return text, None, tuple(history)


def _olympiad(row: Values) -> tuple[str, str | None, tuple[str, ...]]:
    context = row.get("context")
    text = f"{context}\n\n{row['question']}" if context else row["question"]
    given = row["final_answer"]
    # Published files have a list; mirrors that were flattened have one answer's text.
    answers = [given] if isinstance(given, str) else given
    return text, ", ".join(answer.strip().strip("$") for answer in answers), ()


def _gsm8k(row: Values) -> tuple[str, str | None, tuple[str, ...]]:
    _, mark, answer = row["answer"].rpartition("####")
    if not mark or not answer.strip():
        msg = (
            "answer does not end in '#### ' and the number; give questions with plain answers as "
            "--dataset prompts, in the columns prompt and reference"
        )
        raise ValueError(msg)
    return row["question"], answer.strip(), ()


def _plain(row: Values) -> tuple[str, str | None, tuple[str, ...]]:
    return row["prompt"], None, ()


def _toxicity(row: Values) -> tuple[str, str | None, tuple[str, ...]]:
    return row["prompt"]["text"], None, ()


def _referenced(row: Values) -> tuple[str, str | None, tuple[str, ...]]:
    return row["prompt"], row.get("reference"), ()


def _is_text(value: object) -> bool:
    return TEXT_COLUMN.field.accepts(value)


def _is_answers(value: object) -> bool:
    return _is_text(value) or (
        isinstance(value, list) and bool(value) and all(map(_is_text, value))
    )


def _is_spoken(value: object) -> bool:
    return isinstance(value, dict) and _is_text(value.get("text"))


SOURCES: Mapping[str, Source] = {
    "hh-rlhf": Source({"chosen": TEXT_COLUMN, "rejected": Column(TEXT)}, _hh),
    "beavertails": Source(
        {"prompt": TEXT_COLUMN, "response": RESPONSE_COLUMN, "is_safe": FLAG_COLUMN},
        _plain,
        lambda row: [(row["response"], float(row["is_safe"]))],
    ),
    "pku-saferlhf": Source(
        {
            "prompt": TEXT_COLUMN,
            "response_0": RESPONSE_COLUMN,
            "response_1": RESPONSE_COLUMN,
            "is_response_0_safe": FLAG_COLUMN,
            "is_response_1_safe": FLAG_COLUMN,
        },
        _plain,
        lambda row: [(row[f"response_{i}"], float(row[f"is_response_{i}_safe"])) for i in range(2)],
    ),
    "gsm8k": Source({"question": TEXT_COLUMN, "answer": TEXT_COLUMN}, _gsm8k),
    "olympiadbench": Source(
        {
            "question": TEXT_COLUMN,
            "final_answer": Column(Field(_is_answers, "text, or a list of text")),
            "context": Column(TEXT, required=False),
        },
        _olympiad,
    ),
    "realtoxicityprompts": Source(
        {"prompt": Column(Field(_is_spoken, "an object with text"))}, _toxicity
    ),
    "prompts": Source({"prompt": TEXT_COLUMN, "reference": REFERENCE_COLUMN}, _referenced),
}
"""The data sets by name; ``prompts`` is any file with ``prompt`` and maybe ``reference``."""
