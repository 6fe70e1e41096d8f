"""Writing files that a reader sees whole or not at all."""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_at_most(path: Path, most: int) -> bytes:
    """All of a file.

    Args:
        path: Of the file.
        most: Bytes beyond which it is not read to its end.

    Raises:
        OSError: It cannot be read.
        ValueError: It has more bytes.
    """
    with path.open("rb") as handle:
        content = handle.read(most + 1)
    if len(content) > most:
        msg = f"it has more than {most:,} bytes"
        raise ValueError(msg)
    return content


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written to a folder; ``None`` if it can."""
    # Trying it also finds a read-only or full file system, which permissions say nothing of.
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"cannot write to {folder} ({error.strerror})"


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of ``path`` once it is complete.

    It is a temporary file in the same folder, of a name that no other writer uses; if the block
    raises, it is removed and ``path`` stays what it was.

    Args:
        path: What is replaced; its folder must be there.
        durable: Also wait until the folder is on disk, so that a machine that loses its power
            afterwards has the new file.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a whole file as :func:`replacing` does, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=durable) as handle:
        handle.write(content)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the system can say so."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
