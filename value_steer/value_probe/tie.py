"""A head's two files as one: its weights, and the sidecar that holds their SHA-256.

A save writes the new card under a name of its own, then the weights, then gives the card the
sidecar's name. Whenever it is cut off, the weights that are there have a card that belongs to them:
the sidecar, or the one that waits. A reader takes the one whose hash is that of the bytes it read.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.errors import CheckpointError
from value_steer.records.files import replacing
from value_steer.value_probe.card_json import tied_to
from value_steer.value_probe.limits import MAX_CARD_BYTES
from value_steer.value_probe.stored import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Beside:
    """A card in a file of its own.

    Attributes:
        source: The file.
        text: What is in it.
        belongs: Whether it is the card of these weights, or does not say of which.
    """

    source: Path
    text: bytes
    belongs: bool


def sidecar(path: Path) -> Path:
    """The file beside a checkpoint that holds its card."""
    return path.with_name(path.name + ".meta.json")


def read_tied(file: Path) -> tuple[bytes, Beside | None]:
    """A head's bytes and the card beside them, of one and the same save.

    A card that belongs to other weights is returned only if it stays so.

    Raises:
        CheckpointError: One of the files cannot be read.
    """
    before = None
    for pause in _PAUSES:
        body = read_bytes(file)
        beside = _beside(file, hashlib.sha256(body).hexdigest())
        if beside is None or beside.belongs:
            break
        # Somebody saves just now, or the two do not belong together and nothing changes.
        if (after := _state(file)) == before:
            break
        before = after
        time.sleep(pause)
    return body, beside


def write_tied(file: Path, body: bytes, card: bytes) -> None:
    """Replace a head and its sidecar; cut off anywhere, the old or the new head is there, whole.

    Args:
        file: The head's file.
        body: Its new bytes.
        card: The new sidecar, which holds their hash.

    Raises:
        CheckpointError: They cannot be written; the old ones are kept and nothing else is left.
    """
    try:
        with _alone(file):
            _tidied(file)
            waiting = _waiting(file)
            with replacing(waiting) as handle:
                handle.write(card)
            try:
                with replacing(file) as handle:
                    handle.write(body)
            except OSError:
                waiting.unlink(missing_ok=True)
                raise
            waiting.replace(sidecar(file))
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be saved ({error}); what was there is kept"
        raise CheckpointError(msg) from error


def _beside(file: Path, digest: str) -> Beside | None:
    """The card of these weights; else the sidecar."""
    for path in (_waiting(file), sidecar(file)):  # in this order: a save renames the first
        text = _card_bytes(path)
        if text is None:
            continue
        stated = tied_to(text)
        if stated == digest or (stated is None and path != _waiting(file)):
            return Beside(path, text, belongs=True)
        found = Beside(path, text, belongs=False)
        if path == sidecar(file):
            return found
    return None


def _card_bytes(path: Path) -> bytes | None:
    try:
        size = path.stat().st_size
        text = path.read_bytes() if size <= MAX_CARD_BYTES else None
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"{path} cannot be read ({error}); it must be the JSON file of the head's card"
        raise CheckpointError(msg) from error
    if text is None:
        msg = f"{path} is larger than the {MAX_CARD_BYTES} bytes that a card may have"
        raise CheckpointError(msg)
    return text


def _state(file: Path) -> tuple[tuple[int, int], ...]:
    """The state of a file that differs once it is replaced."""
    stats = [path.stat() for path in (file, sidecar(file)) if path.exists()]
    return tuple((stat.st_ino, stat.st_mtime_ns) for stat in stats)


def _waiting(file: Path) -> Path:
    return file.with_name(f".{file.name}.meta.json.next")


def _tidied(file: Path) -> None:
    """Finish, or clear away, what a save left that was killed; nobody else saves now."""
    waiting = _waiting(file)
    text = _card_bytes(waiting)
    if text is not None:
        if file.exists() and tied_to(text) == hashlib.sha256(read_bytes(file)).hexdigest():
            waiting.replace(sidecar(file))
        waiting.unlink(missing_ok=True)
    names = rf"\.\.?{re.escape(file.name)}(\.meta\.json\.next)?"
    left = re.compile(rf"{names}\.[0-9a-f]{{32}}\.tmp")  # as records.files calls them
    for path in [path for path in file.parent.iterdir() if left.fullmatch(path.name)]:
        path.unlink(missing_ok=True)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Wait until no other process saves this head; a killed one holds no lock."""
    path = file.with_name(f".{file.name}.lock")
    while True:
        handle = path.open("wb")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            # A file system without locks: two saves at once may then give the last one's weights
            # with the other's card, which every reader refuses.
            if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}:
                handle.close()
                raise
        if path.exists() and os.path.samestat(path.stat(), os.fstat(handle.fileno())):
            break
        handle.close()  # its last holder has removed it
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        handle.close()


_PAUSES = (0.002, 0.005, 0.01, *(0.02,) * 17)
"""Between attempts, in seconds."""
