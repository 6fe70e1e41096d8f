"""What git knows of the checkout."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def text(root: Path, *arguments: str) -> str | None:
    """Output of a git command in a checkout, or ``None`` where there is no repository."""
    output = _output(root, *arguments)
    return None if output is None else output.decode().strip()


def files_at(root: Path, commit: str, folder: Path) -> dict[str, bytes] | None:
    """The files below a folder in a commit, by relative path; ``None`` if that is not known."""
    archive = _output(root, "archive", "--format=tar", commit, "--", folder.as_posix())
    if archive is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        contents = {m.name: file.read() for m in tar if (file := tar.extractfile(m))}
    names = {name: PurePosixPath(name).relative_to(PurePosixPath(folder)) for name in contents}
    return {str(names[name]): content for name, content in contents.items()}


def _output(root: Path, *arguments: str) -> bytes | None:
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    done = subprocess.run([git, *arguments], cwd=root, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
