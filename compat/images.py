"""The image of one release, built ahead of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat import isolate, plan, policy, recipes
from compat.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from compat.isolate.protocol import Prepared
    from compat.plan import Candidate
    from compat.progress import Progress


def build(wanted: str | None, out: Path, progress: Progress) -> Prepared:
    """Build the image of a release's CPU build, or find it built.

    Args:
        wanted: A series or a release; ``None`` for the newest that has such a build.
        out: Folder for the log.
        progress: Who is told.

    Raises:
        UsageError: There is no such release or build.
        InfraError: No Docker daemon answers, or the network or the disk failed.
        ResolveError: pip finds no set of packages for it.
        InstallError: It does not install.
    """
    candidates = plan.load()
    candidate = _newest(candidates) if wanted is None else plan.select(wanted, candidates)
    wish = recipes.recipe(candidate, "cpu", policy.load())
    isolation = isolate.choose("container", gpu=False).isolation
    out.mkdir(parents=True, exist_ok=True)
    wish = recipes.locked(wish, isolation, out / f"lock-{wish.version}.log")
    log = out / f"image-{wish.version}.log"
    with progress.step(f"build the image of {wish.distribution} {wish.version}", log):
        return isolation.prepare(wish, out, log)


def _newest(candidates: tuple[Candidate, ...]) -> Candidate:
    built = [candidate for candidate in candidates if candidate.serves("cpu")]
    if not built:
        msg = "no candidate has a CPU build; name a release"
        raise UsageError(msg)
    return built[-1]
