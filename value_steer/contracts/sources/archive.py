"""The source files inside a tarball, such as a snapshot of vLLM's main branch."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.sources.tree import PACKAGE, stated_version
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST = 8 << 20
_VERSION_FILE = f"{PACKAGE}/_version.py"


@dataclass(frozen=True, slots=True)
class ArchiveTree:
    """The Python files of a tarball, in memory."""

    files: Mapping[str, bytes]

    def read(self, path: str) -> str | None:
        """The text of ``path``, or ``None`` if the tarball has no such file."""
        content = self.files.get(path)
        try:
            return None if content is None else content.decode("utf-8")
        except UnicodeDecodeError as err:
            msg = f"{path} in the tarball is not UTF-8: {err}"
            raise ContractError(msg) from err

    def version(self) -> str | None:
        """What ``vllm/_version.py`` says; a snapshot of a branch has none."""
        text = self.read(_VERSION_FILE)
        return None if text is None else stated_version(text)


def archive_tree(path: Path) -> ArchiveTree:
    """The tree in a tarball, whatever the folder that it is packed in.

    Raises:
        ContractError: The file is no tarball, or holds no vLLM.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = _inside(member.name)
                if name and member.isfile() and member.size <= _LARGEST:
                    stream = archive.extractfile(member)
                    files[name] = stream.read() if stream else b""
    except (OSError, EOFError, tarfile.TarError) as err:
        msg = f"{path} cannot be read as a tarball: {err}"
        raise ContractError(msg) from err
    if f"{PACKAGE}/__init__.py" not in files:
        msg = (
            f"no vLLM in {path}: it must hold {PACKAGE}/__init__.py, at the top or one folder down"
        )
        raise ContractError(msg)
    return ArchiveTree(files)


def _inside(name: str) -> str | None:
    """``vllm/...`` for a Python file of the package, ``None`` for any other."""
    parts = [part for part in name.split("/") if part != "."]
    at = next((i for i in (0, 1) if parts[i : i + 1] == [PACKAGE]), None)
    return "/".join(parts[at:]) if at is not None and name.endswith(".py") else None
