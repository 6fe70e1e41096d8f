"""The image of one release, built ahead of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat import isolate, plan, policy
from compat.errors import UsageError
from compat.isolate.protocol import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from compat.isolate.protocol import Prepared
    from compat.plan import Candidate
    from compat.policy import Policy
    from compat.progress import Progress


def recipe(candidate: Candidate, lane: str, rules: Policy) -> Recipe:
    """What is installed to test a release in a lane.

    Raises:
        UsageError: The release has no build for it.
    """
    return Recipe(
        distribution=candidate.build(lane).distribution,
        version=str(candidate.version),
        torch=candidate.torch,
        extras=rules.extras,
    )


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
    wish = recipe(candidate, "cpu", policy.load())
    choice = isolate.choose("container", gpu=False)
    out.mkdir(parents=True, exist_ok=True)
    log = out / f"image-{wish.version}.log"
    with progress.step(f"build the image of {wish.distribution} {wish.version}", log):
        return choice.isolation.prepare(wish, out, log)


def _newest(candidates: tuple[Candidate, ...]) -> Candidate:
    built = [c for c in candidates if any(build.lane == "cpu" for build in c.builds)]
    if not built:
        msg = "no candidate has a CPU build; name a release"
        raise UsageError(msg)
    return built[-1]
