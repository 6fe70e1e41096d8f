"""The image of one release, built ahead of its cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from compat.isolate import locks, recipes

if TYPE_CHECKING:
    from pathlib import Path

    from compat.console import Progress
    from compat.isolate.protocol import Isolation, Prepared
    from compat.releases.candidates import Candidate
    from compat.releases.policy import Policy


def build(
    candidate: Candidate, rules: Policy, isolation: Isolation, out: Path, progress: Progress
) -> Prepared:
    """Build the image of a release's CPU build, or find it built.

    Args:
        candidate: The release.
        rules: The policy.
        isolation: Containers.
        out: Folder for the log.
        progress: Who is told.

    Raises:
        UsageError: The release has no such build.
        InfraError: The network or the disk failed.
        ResolveError: pip finds no set of packages for it.
        InstallError: It does not install.
    """
    recipe = recipes.recipe(candidate, "cpu", rules)
    out.mkdir(parents=True, exist_ok=True)
    lock = locks.lock(recipe, isolation.python, out / f"lock-{recipe.version}.log")
    log = out / f"image-{recipe.version}.log"
    with progress.step(f"build the image of {recipe.distribution} {recipe.version}", log):
        return isolation.prepare(replace(recipe, lock=lock), out, log)
