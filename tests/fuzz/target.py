"""What is fuzzed: a strategy for inputs, and what is done with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compat.errors import CompatError
from value_steer.errors import ValueSteerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads an input.

    Attributes:
        name: What is read.
        inputs: What may stand there.
        check: Reads an input, with a folder of its own; whatever it raises is an escape.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Path, Any], None]


def ours(load: Callable[[], Iterable[object]]) -> None:
    """Read all of it; an error of ours, with a message that can be printed, is an answer too."""
    try:
        for _ in load():
            pass
    except (ValueSteerError, CompatError) as error:
        assert str(error).encode()  # noqa: PT017  (any error of ours will do)


def of_file(
    name: str,
    inputs: st.SearchStrategy[bytes],
    load: Callable[[Path], object],
    file: str = "file.json",
) -> Target:
    """The target of a reader of one file, which gives anything at all."""

    def check(folder: Path, made: bytes) -> None:
        path = folder / file
        path.write_bytes(made)
        ours(lambda: [load(path)])

    return Target(name, inputs, check)
