"""Artifacts: files under a name, which one job leaves and another takes up."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.actions.records import StepError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WILD = re.compile(r"[*?\[]")
_FORBIDDEN = re.compile(r'["<>:|*?\r\n\\/]')


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be kept.

    Attributes:
        root: The folder that the names in the artifact are relative to.
        files: In order.
    """

    root: Path
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """The artifacts of one run.

    Attributes:
        folder: One folder below it for each.
    """

    folder: Path

    def put(self, name: str, found: Found, *, overwrite: bool) -> None:
        """Keep files under a name. As in the archive of GitHub's, modes are lost.

        Raises:
            StepError: The name cannot be used, or is used and is not to be overwritten.
        """
        kept = self.folder / name
        if not name or _FORBIDDEN.search(name):
            msg = f"{name!r} cannot be the name of an artifact"
            raise StepError(msg)
        if kept.exists() and not overwrite:
            msg = f"an artifact with the name {name} is there already"
            raise StepError(msg)
        if kept.exists():
            shutil.rmtree(kept)
        for path in found.files:
            _copy(path, kept / path.relative_to(found.root))

    def take(self, name: str, target: Path) -> int:
        """Put the files of an artifact into a folder, and count them.

        Raises:
            StepError: There is none with this name.
        """
        kept = self.folder / name
        if not name or not kept.is_dir():
            msg = f"there is no artifact with the name {name!r}"
            raise StepError(msg)
        files = [path for path in kept.rglob("*") if path.is_file()]
        for path in files:
            _copy(path, target / path.relative_to(kept))
        return len(files)

    def take_all(self, pattern: str, target: Path) -> list[str]:
        """Put every artifact whose name matches into a folder of its own, and name them."""
        names = sorted(path.name for path in self.folder.iterdir())
        taken = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        for name in taken:
            self.take(name, target / name)
        return taken


def find(workspace: Path, lines: str) -> Found:
    """The files that the lines of an input ``path`` name.

    The names in the artifact are relative to the folder that all lines have in common, each
    counted up to its first wildcard; a single file that is named in full has no folder.

    Raises:
        StepError: A line has a form that is not known here.
    """
    patterns = [line.strip() for line in lines.splitlines() if line.strip()]
    if not patterns or any(pattern.startswith("!") for pattern in patterns):
        msg = f"path: {lines!r}: must name files; leaving some out is not known to this runner"
        raise StepError(msg)
    files = sorted({path for pattern in patterns for path in _matching(workspace, pattern)})
    roots = _outermost([_fixed(workspace, pattern) for pattern in patterns])
    if len(roots) > 1:
        return Found(Path(os.path.commonpath(roots)), tuple(files))
    (root,) = roots
    return Found(root.parent if files == [root] else root, tuple(files))


def _matching(workspace: Path, pattern: str) -> Iterator[Path]:
    """The files of a line, those in folders included; hidden ones are left out."""
    root = _fixed(workspace, pattern)
    wild = Path(os.path.normpath(workspace / pattern)).relative_to(root)
    for match in root.glob(str(wild)) if wild.parts else (root,):
        for path in (match, *match.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.is_file() and not hidden:
                yield path


def _fixed(workspace: Path, pattern: str) -> Path:
    """What of a line stands before its first wildcard."""
    path = Path(os.path.normpath(workspace / pattern))
    # The runner's own folders may have names with brackets.
    own = len(workspace.parts) if workspace in path.parents else 0
    wild = (at for at, part in enumerate(path.parts) if at >= own and _WILD.search(part))
    return Path(*path.parts[: next(wild, None)])


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """Paths without those that are inside of others."""
    return [
        path for path in dict.fromkeys(paths) if not any(other in path.parents for other in paths)
    ]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
