"""A file of which no more is read than is allowed, whatever lengths it claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from value_steer.errors import ContractError

if TYPE_CHECKING:
    from value_steer.contracts.sources.ranges import RangeFile

LARGEST_SOURCE = 1 << 20
"""Bytes of one source file: the largest of vLLM has a third of it; parsed, it takes 600 MiB."""

MOST_SOURCES = 256 << 20
"""Bytes of all files that are read out of one wheel or archive."""

MOST_MEMBERS = 100_000
"""Files in a wheel or an archive; vLLM has 5,000, torch 15,000."""


class BoundedFile:
    """As much of a file interface as ``zipfile`` and ``tarfile`` use.

    Args:
        file: What is read.
        left: Bytes that may be read from now on.
    """

    def __init__(self, file: BinaryIO | RangeFile, left: int) -> None:
        self._file = file
        self.left = left

    def read(self, size: int = -1) -> bytes:
        """Some of the file, or all that is left of it.

        Raises:
            ContractError: It would be more than is allowed, which is not even attempted.
        """
        if size > self.left:
            raise self._refusal()
        content = self._file.read(self.left + 1 if size < 0 else size) or b""
        if len(content) > self.left:
            raise self._refusal()
        self.left -= len(content)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, counted as for any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the next read begins."""
        return self._file.tell()

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def _refusal(self) -> ContractError:
        return ContractError("it claims more bytes than such a file can have")
