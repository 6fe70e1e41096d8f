"""JSON to frozen dataclasses and back, after the types of their fields."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections import Counter
from enum import Enum
from typing import Any, TypeVar

from value_steer.records.fields import (
    FLAG,
    TEXT,
    Field,
    member_of,
    optional,
    read,
    shown,
    whole_from,
)

Record = TypeVar("Record")


def parse_json(text: str | bytes) -> object:
    """JSON as the standard has it: no key twice, no NaN, no infinity, whole characters only.

    Raises:
        ValueError: It is not.
    """
    try:
        body: object = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError as error:
        msg = "nested too deeply"
        raise ValueError(msg) from error
    # Half of a surrogate pair passes the parser and fails wherever the text is encoded again.
    # It comes as an escape, or as bytes that begin with 0xed.
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if b"\\u" in raw or b"\xed" in raw:
        _require_whole_characters(body)
    return body


def decode(record: type[Record], body: object, at: str, problems: list[str]) -> Record | None:
    """An instance of a dataclass with exactly the fields of a JSON object.

    Args:
        record: A dataclass of text, flags, counts, seconds, enums, lists of text, dataclasses of
            these, and ``None`` beside any of the simple ones.
        body: What was parsed from JSON.
        at: Dotted place of the object, for messages.
        problems: Gains a line for all that is wrong; then ``None`` is returned.
    """
    before = len(problems)
    table, parts = _table(record)  # type: ignore[arg-type]  # every type is hashable
    values = read(body, table, at, problems, required=tuple(table))
    for name, part in parts.items():
        if name in values:
            values[name] = decode(part, values[name], f"{at}.{name}", problems)
    return record(**values) if len(problems) == before else None


def encode(value: object) -> Any:  # noqa: ANN401  (whatever JSON can hold)
    """The form that :func:`decode` reads back: objects, lists and plain values."""
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


@functools.cache  # looking up the types of fields takes longer than reading a record
def _table(record: type) -> tuple[dict[str, Field], dict[str, Any]]:
    """The fields of a dataclass, and the dataclasses among their types."""
    hints = typing.get_type_hints(record)
    kinds = {field.name: hints[field.name] for field in dataclasses.fields(record)}
    parts = {name: kind for name, kind in kinds.items() if dataclasses.is_dataclass(kind)}
    return {name: _field(kind) for name, kind in kinds.items()}, parts


def _field(kind: Any) -> Field:  # noqa: ANN401  (a type, in one of its many forms)
    if isinstance(kind, types.UnionType):
        (inner,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
        return optional(_field(inner))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return member_of(kind)
    return _OBJECT if dataclasses.is_dataclass(kind) else _SIMPLE[kind]


def _is_seconds(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value <= _LONGEST  # type: ignore[operator]


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        msg = f"key {shown(twice)} occurs more than once"
        raise ValueError(msg)
    return body


def _require_whole_characters(body: object) -> None:
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        msg = f"holds half of a surrogate pair, which is no character ({error.reason})"
        raise ValueError(msg) from error


def _no_constant(word: str) -> object:
    msg = f"{word} is not JSON"
    raise ValueError(msg)


_LONGEST = 1e9
_OBJECT = Field(lambda value: isinstance(value, dict), "an object")
_SIMPLE = {
    str: TEXT,
    bool: FLAG,
    int: whole_from(0),
    float: Field(_is_seconds, "a number of seconds", float),
    tuple[str, ...]: Field(_is_texts, "a list of text", tuple),
}
