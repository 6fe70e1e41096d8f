"""Questions to git about the checkout."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def text(root: Path, *arguments: str) -> str | None:
    """Output of a git command in a checkout, or ``None`` where there is no repository."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    done = subprocess.run([git, *arguments], cwd=root, capture_output=True, check=False)
    return done.stdout.decode().strip() if done.returncode == 0 else None
