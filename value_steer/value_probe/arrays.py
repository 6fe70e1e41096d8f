"""Arrays of an ``.npz`` file: bounded, and without objects."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from value_steer.errors import CheckpointError
from value_steer.value_probe.limits import MAX_ARRAY_BYTES, MAX_RECORDS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_npz(file: Path, body: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of numbers and text that ``numpy.savez`` wrote.

    Args:
        file: For messages.
        body: All of it.

    Raises:
        CheckpointError: It is damaged, holds objects, or its arrays are beyond ``MAX_ARRAY_BYTES``.
    """
    try:
        if body.count(b"PK\x01\x02") > MAX_RECORDS:
            raise ValueError(f"more than {MAX_RECORDS} arrays")  # noqa: EM102, TRY301
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            arrays, left = {}, MAX_ARRAY_BYTES  # for all of them together
            for entry in archive.infolist():
                data = _inflated(archive, entry, left)
                left -= len(data)
                arrays[entry.filename.removesuffix(".npy")] = _array(data)
            return arrays
    # What zipfile, zlib and numpy's reader of headers are known to raise on damaged files.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise CheckpointError(_damaged(file, error)) from error
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise CheckpointError(_damaged(file, error)) from error
    except (zlib.error, struct.error, KeyError, IndexError, RecursionError, MemoryError) as error:
        raise CheckpointError(_damaged(file, error)) from error


def _inflated(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int) -> bytes:
    # LZMA takes as much memory as the file says, and raises errors of its own.
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        method = entry.compress_type
        msg = f"{entry.filename[:40]!r} is compressed by method {method}, which numpy never does"
        raise ValueError(msg)
    with archive.open(entry) as stream:
        data = stream.read(left + 1)
    if len(data) > left:
        msg = f"at {entry.filename[:40]!r} it has more than {MAX_ARRAY_BYTES} bytes"
        raise ValueError(msg)
    return data


def _array(data: bytes) -> NDArray[Any]:
    # numpy's own reader takes memory for what the header claims before it looks at the numbers.
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(stream)
    count, left = math.prod(shape), len(data) - stream.tell()
    if dtype.kind not in "fiubU" or min((*shape, 0)) < 0 or count * dtype.itemsize != left:
        msg = f"an array of {dtype} and shape {shape} in {left} bytes"
        raise ValueError(msg)
    if not left:
        return np.zeros((0,), dtype)
    array = np.frombuffer(data, dtype, count, stream.tell())
    return array.reshape(shape, order="F" if fortran else "C")


def _damaged(file: Path, error: Exception) -> str:
    return (
        f"{file} is damaged or no .npz file of plain arrays ({error}); write it with "
        "numpy.savez(file, coef_=model.coef_, intercept_=model.intercept_)"
    )
