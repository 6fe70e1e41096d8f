"""Reading records: once looked up, in one pass, with messages of bounded length."""

from __future__ import annotations

import json
import time
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.compat.samples import PASSED
from value_steer.errors import RegistryError
from value_steer.records import codec
from value_steer.registry.rows import Row, read_registry

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Part:
    """Something small."""

    name: str


@dataclass(frozen=True)
class Whole:
    """Something with a part."""

    part: Part
    count: int | None


def test_the_types_of_a_record_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records are read; the look-up takes longer than the reading."""
    codec._table.cache_clear()
    asked: list[object] = []
    look_up = typing.get_type_hints

    def counted(record: object) -> dict[str, object]:
        asked.append(record)
        return look_up(record)

    monkeypatch.setattr(typing, "get_type_hints", counted)
    problems: list[str] = []
    for count in range(10):
        body = {"part": {"name": "a"}, "count": count}
        assert codec.decode(Whole, body, "it", problems) == Whole(Part("a"), count)

    assert asked == [Whole, Part]
    assert problems == []


def test_a_key_that_occurs_twice_late_in_a_large_object_is_found_at_once() -> None:
    """In time that grows with the object and not with its square; 40,000 keys took 20 s."""
    keys = ",".join(f'"{i}": 0' for i in range(40_000))
    start = time.process_time()

    with pytest.raises(ValueError, match="key '39999' occurs more than once"):
        codec.parse_json(f'{{{keys}, "39999": 0}}')
    assert time.process_time() - start < 5


def test_thousands_of_wrong_rows_make_a_message_that_can_be_read(tmp_path: Path) -> None:
    """The first problems and how many there are more, each of bounded length."""
    path = tmp_path / "validated_versions.json"
    wrong = {**PASSED.to_json(), "seconds": "x" * 30_000}
    path.write_text(json.dumps({"schema_version": 1, "rows": [wrong] * 500}), encoding="utf-8")

    with pytest.raises(RegistryError) as error:
        read_registry(path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"{path}: rows[0].seconds = 'xxx")
    assert lines[-1] == "and 480 more"
    assert len(lines) == 21
    assert len(str(error.value)) < 21 * (500 + len(str(path)))


def test_the_problems_of_one_row_are_bounded_as_well() -> None:
    """Each unknown key is one, and a long one is cut."""
    body = {**PASSED.to_json(), **{f"{i}{'k' * 1000}": 0 for i in range(300)}}

    with pytest.raises(RegistryError) as error:
        Row.from_json(body)
    assert str(error.value).splitlines()[-1] == "and 280 more"
    assert len(str(error.value)) < 20_000
