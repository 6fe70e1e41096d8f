"""Tensors of a ``.pt`` or ``.bin`` file, read without torch's unpickler.

A tensor is made of bytes that the file has: one that claims more than it holds is refused before
memory is taken for it.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from typing import TYPE_CHECKING

import torch

from value_steer.value_probe.limits import MAX_PICKLE_BYTES, MAX_RECORDS
from value_steer.value_probe.pickle_text import (
    DamagedError,
    NotPlainError,
    Storage,
    View,
    interpreted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor


def read_pickled(body: bytes) -> object:
    """Read a file of ``torch.save``: its tensors on the CPU, in their own precision.

    Args:
        body: The whole file.

    Returns:
        Plain values; in a dict, or in a dict within it, tensors, and
        :class:`value_steer.value_probe.pickle_text.Odd` for those that are no plain numbers.

    Raises:
        NotPlainError: It holds code or objects.
        DamagedError: It is damaged, compressed, beyond a limit or no checkpoint.
    """
    return _read_zip(body) if body.startswith(b"PK") else _read_legacy(body)


def _read_zip(body: bytes) -> object:
    # An entry of the directory begins with these bytes, so at most this many are parsed.
    _require(body.count(b"PK\x01\x02") <= MAX_RECORDS, f"it has more than {MAX_RECORDS} records")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return _read_archive(archive, len(body))
    # What Python's zipfile is known to raise on damaged and on encrypted archives.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        msg = f"its archive is damaged: {error}"
        raise DamagedError(msg) from error
    except (EOFError, KeyError, IndexError, struct.error) as error:
        msg = f"its archive is damaged: {error}"
        raise DamagedError(msg) from error


def _read_archive(archive: zipfile.ZipFile, length: int) -> object:
    entries = {entry.filename: entry for entry in archive.infolist()}
    is_stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values())
    _require(is_stored, "its records are compressed, which torch.save never does")
    claimed = sum(entry.file_size for entry in archive.infolist())
    _require(claimed <= length, "its records claim more bytes than the file has")
    pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    fits = len(pickles) == 1 and entries[pickles[0]].file_size <= MAX_PICKLE_BYTES
    _require(fits, f"it has no data.pkl of at most {MAX_PICKLE_BYTES} bytes")
    root = pickles[0].removesuffix("data.pkl")
    order = archive.read(f"{root}byteorder") if f"{root}byteorder" in entries else b"little"
    _require(order == b"little", "its numbers are not little-endian")
    content = interpreted(io.BytesIO(archive.read(pickles[0])))
    raw = {key: bytearray(archive.read(f"{root}data/{key}")) for key in _storages(content)}
    return _filled(content, raw)


_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def _read_legacy(body: bytes) -> object:
    """The older container: five pickles, then each storage's count and bytes."""
    pickles = io.BytesIO(body[:MAX_PICKLE_BYTES])
    if interpreted(pickles) != _MAGIC:
        msg = "a pickle that torch.save did not write"
        raise NotPlainError(msg)
    protocol, system = interpreted(pickles), interpreted(pickles)
    _require(protocol == _LEGACY_PROTOCOL, "its container is of an unknown version")
    is_little = isinstance(system, dict) and system.get("little_endian") is True
    _require(is_little, "its numbers are not little-endian")
    content, keys = interpreted(pickles), interpreted(pickles)
    storages = _storages(content)
    known = isinstance(keys, list) and {key for key in keys if isinstance(key, str)}
    _require(known == storages.keys(), "it lists other storages than its tensors use")
    raw, at = {}, pickles.tell()
    for key in keys if isinstance(keys, list) else ():
        count, at = int.from_bytes(body[at : at + 8], "little"), at + 8
        _require(count == storages[key].numel, f"its storage {key} is cut off")
        raw[key] = bytearray(body[at : at + _bytes(storages[key])])
        at += len(raw[key])
    return _filled(content, raw)


def _storages(content: object) -> dict[str, Storage]:
    found: dict[str, Storage] = {}
    for view in _views(content):
        first = found.setdefault(view.storage.key, view.storage)
        _require(first == view.storage, f"its storage {first.key} is described in two ways")
    return found


def _views(content: object) -> Iterator[View]:
    for value in content.values() if isinstance(content, dict) else ():
        for inner in value.values() if isinstance(value, dict) else (value,):
            if isinstance(inner, View):
                yield inner


def _filled(content: object, raw: Mapping[str, bytearray]) -> object:
    """The same with tensors in the place of their descriptions."""

    def filled(value: object) -> object:
        return _tensor(value, raw[value.storage.key]) if isinstance(value, View) else value

    def level(value: object, then: Callable[[object], object]) -> object:
        if not isinstance(value, dict):
            return filled(value)
        return {k: then(v) for k, v in value.items()}

    return level(content, lambda value: level(value, filled))


def _tensor(view: View, data: bytearray) -> Tensor:
    storage, count = view.storage, math.prod(view.size)
    _require(len(data) == _bytes(storage), f"its storage {storage.key} claims other than it holds")
    last = view.offset + sum((n - 1) * step for n, step in zip(view.size, view.stride, strict=True))
    # With a stride of 0, a few bytes would claim any size.
    fits = count <= storage.numel and (count == 0 or last < storage.numel)
    _require(fits, f"a tensor of size {view.size} claims more numbers than its storage holds")
    if count == 0:
        return torch.empty(view.size, dtype=storage.dtype)
    numbers = torch.frombuffer(data, dtype=storage.dtype)
    return numbers.as_strided(view.size, view.stride, view.offset)


def _bytes(storage: Storage) -> int:
    return storage.numel * storage.dtype.itemsize


def _require(holds: bool, reason: str) -> None:  # noqa: FBT001  (a condition, not an option)
    if not holds:
        raise DamagedError(reason)
