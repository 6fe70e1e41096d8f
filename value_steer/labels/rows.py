"""Rows of local files, each with its place, and the types that columns are declared to have.

A path is a path: no character of it is a wildcard. Text stays text: nothing is guessed from what a
value looks like, so a CSV column ``00501`` is ``"00501"``.
"""

from __future__ import annotations

import csv
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_steer.errors import DataError
from value_steer.labels.errors import BadRowError, LabelError
from value_steer.records.fields import FLAG, TEXT, Field, shown
from value_steer.records.lines import json_lines, opened, parsed, raw_lines

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

_REMEDY = "give a file of rows: .jsonl, .json or .csv, gzipped or not, or .parquet"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        at: File and row, for messages.
        values: By column; text only, if it came from a CSV file.
        typed: Whether the file states types, as all but CSV do.
    """

    at: str
    values: Mapping[str, Any]
    typed: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """A column and the type of its content.

    Attributes:
        field: Its type.
        from_text: Its value from a CSV file's text; what is none of its values comes back as it is.
        required: Whether every row must have it.
    """

    field: Field
    from_text: Callable[[str], object] = str
    required: bool = True


def read_rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The rows of a file, or of all files of one kind in a folder, as they are.

    Raises:
        LabelError: There are no such files, or one of them cannot be read; file and row are named.
    """
    reader, files = _files(Path(path))
    for file in files:
        number = 0
        try:
            for number, row in enumerate(reader(file), start=1):  # noqa: B007  (counted)
                yield row
        except DataError as error:
            raise LabelError(str(error)) from error
        if not number:
            msg = f"{file} has no rows; {_REMEDY}"
            raise LabelError(msg)


def checked(row: Row, columns: Mapping[str, Column]) -> dict[str, Any]:
    """The values of the declared columns of a row; an absent optional one is left out.

    Raises:
        BadRowError: A column is missing or holds something else; row and column are named.
    """
    missing = []
    problems = []
    values = {}
    for name, column in columns.items():
        value = row.values.get(name)
        if not row.typed and value is not None:
            # An empty cell is all that a CSV file has for "nothing".
            value = None if value == "" and not column.required else column.from_text(value)
        if value is None:
            if column.required:
                missing.append(name)
        elif not column.field.accepts(value):
            problems.append(f"{name} = {shown(value)}: must be {column.field.allowed}")
        else:
            values[name] = column.field.convert(value)
    if missing:
        having = ", ".join(map(str, row.values)) or "no columns"
        problems.append(
            f"lacks {', '.join(missing)}; it has {having}. "
            "Is it another data set, or another split?"
        )
    if problems:
        msg = f"{row.at}: {'; '.join(problems)}"
        raise BadRowError(msg)
    return values


def _files(path: Path) -> tuple[Callable[[Path], Iterator[Row]], list[Path]]:
    """The reader of these files, and the files."""
    if path.is_dir():
        # Hidden files are no part of a data set: macOS leaves ._x.jsonl beside x.jsonl.
        found = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]
    else:
        found = [path]
    kinds = {file: _READERS.get(_suffix(file)) for file in found if file.is_file()}
    known = {file: kind for file, kind in kinds.items() if kind is not None}
    if len(set(known.values())) != 1:
        msg = f"{path} is no file, or folder of files of one kind, with {', '.join(_READERS)}"
        raise LabelError(msg)
    packed = next(
        (file for file in known if file.suffix == ".gz" and file.with_suffix("") in known), None
    )
    if packed is not None:
        msg = f"{packed} lies beside {packed.stem}, whose rows would count twice; keep one of them"
        raise LabelError(msg)
    return next(iter(known.values())), list(known)


def _suffix(file: Path) -> str:
    return f"{Path(file.stem).suffix}.gz" if file.suffix == ".gz" else file.suffix


def _of_lines(file: Path) -> Iterator[Row]:
    for body, at in json_lines(file, _REMEDY):
        yield _row(body, at)


def _of_json(file: Path) -> Iterator[Row]:
    """An array of objects; a file that begins otherwise is read line by line."""
    first = next((line for line, _ in raw_lines(file, _REMEDY) if line.strip()), b"")
    if not first.lstrip().startswith(b"["):
        yield from _of_lines(file)
        return
    body = parsed(b"".join(line for line, _ in raw_lines(file, _REMEDY)), str(file))
    assert isinstance(body, list)  # noqa: S101  (it begins with a bracket)
    for number, item in enumerate(body, start=1):
        yield _row(item, f"{file}: row {number}")


def _row(body: object, at: str) -> Row:
    if not isinstance(body, dict):
        msg = f"{at} is {type(body).__name__}, not an object; write one object a line"
        raise LabelError(msg)
    return Row(at, body)


def _of_csv(file: Path) -> Iterator[Row]:
    next(raw_lines(file, _REMEDY), None)  # it can be read, and is no pointer
    with opened(file) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, strict=True)
        try:
            names = list(reader.fieldnames or ())
            if len(set(names)) != len(names):
                msg = f"{file}: its first line names a column twice: {', '.join(names)}"
                raise LabelError(msg)
            for row in reader:
                at = f"{file}: line {reader.line_num}"
                if None in row or None in row.values():
                    msg = f"{at} has not the {len(names)} cells of the first line"
                    raise LabelError(msg)
                yield Row(at, row, typed=False)
        except (csv.Error, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
            msg = f"{file}: near line {reader.line_num}: {error}; write it as UTF-8, or as .jsonl"
            raise LabelError(msg) from error


def _of_parquet(file: Path) -> Iterator[Row]:
    next(raw_lines(file, _REMEDY), None)
    from pyarrow import ArrowException, parquet  # noqa: PLC0415  (only for this kind)

    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            names = table.schema_arrow.names
            if len(set(names)) != len(names):
                msg = f"{file}: it has a column twice: {', '.join(names)}"
                raise LabelError(msg)
            for batch in table.iter_batches(1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{file}: row {number}", values)
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        msg = f"{file} cannot be read as Parquet after row {number} ({error}); {_REMEDY}"
        raise LabelError(msg) from error


_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".json": _of_json,
    ".json.gz": _of_json,
    ".jsonl": _of_lines,
    ".jsonl.gz": _of_lines,
    ".parquet": _of_parquet,
    ".csv": _of_csv,
    ".csv.gz": _of_csv,
}


def _flag(text: str) -> object:
    """CSV has no flags; these words are how they are written there."""
    return {"true": True, "false": False}.get(text.lower(), text)


def _number(text: str) -> object:
    # float() takes "0_1" for 1, and more digits than those of ASCII.
    if not text.isascii() or "_" in text or text != text.strip():
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _whole(text: str) -> object:
    # No "1_000" and no " 1": what int() takes beyond plain digits is no number in a file.
    return int(text) if text.isascii() and text.isdigit() else text


TEXT_COLUMN = Column(Field(lambda v: TEXT.accepts(v) and bool(v.strip()), "text, not empty"))
"""Text that says something."""

RESPONSE_COLUMN = Column(TEXT)
"""Text that may be empty: a response that ended at once."""

REFERENCE_COLUMN = Column(TEXT_COLUMN.field, required=False)
"""Text that may be absent."""

FLAG_COLUMN = Column(FLAG, _flag)
"""True or false."""


def number_column(field: Field, *, required: bool = True) -> Column:
    """A number."""
    return Column(field, _number, required)


def whole_column(field: Field, *, required: bool = True) -> Column:
    """A whole number."""
    return Column(field, _whole, required)
