"""Files of text as their lines, with the place of each for messages."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from value_steer.errors import DataError
from value_steer.records.codec import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POINTER = b"version https://git-lfs.github.com/spec/"


def opened(path: Path) -> BinaryIO:
    """A file to read bytes from; one that ends in ``.gz`` is decompressed."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def raw_lines(path: Path, remedy: str) -> Iterator[tuple[bytes, int]]:
    """The lines of a file and their numbers, from 1 on, without a byte order mark.

    Args:
        path: Of the file, taken as it is: no character of it is a wildcard.
        remedy: What to do if it cannot be read, for the message.

    Raises:
        DataError: It cannot be read, or it is the pointer that Git LFS leaves in a file's place.
    """
    try:
        with opened(path) as handle:
            for number, line in enumerate(handle, start=1):
                if number == 1 and line.startswith(_POINTER):
                    msg = f"{path} is a pointer of Git LFS, not the file; run git lfs pull"
                    raise DataError(msg)
                yield (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line), number
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{path} cannot be read ({error}); {remedy}"
        raise DataError(msg) from error


def json_lines(path: Path, remedy: str) -> Iterator[tuple[object, str]]:
    """Each line's content in a file of JSON Lines, and its place; blank lines are passed over.

    Args:
        path: See :func:`raw_lines`.
        remedy: See :func:`raw_lines`.

    Raises:
        DataError: The file cannot be read, or a line is no JSON.
    """
    for line, number in raw_lines(path, remedy):
        if line.strip():
            at = f"{path}: line {number}"
            yield parsed(line, at), at


def parsed(text: bytes, at: str) -> object:
    """The value of a JSON text.

    Raises:
        DataError: It is none; the message begins with ``at``.
    """
    try:
        return parse_json(text)
    except ValueError as error:
        msg = f"{at} is not valid JSON ({error}); correct the line or write the file again"
        raise DataError(msg) from error
