"""What is installed to test a release."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from compat.isolate import locks
from compat.isolate.protocol import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from compat.isolate.protocol import Isolation
    from compat.plan import Candidate
    from compat.policy import Policy


def recipe(candidate: Candidate, lane: str, rules: Policy) -> Recipe:
    """What is asked for, before it is locked.

    Raises:
        UsageError: The release has no build for the lane.
    """
    return Recipe(
        distribution=candidate.build(lane).distribution,
        version=str(candidate.version),
        torch=candidate.torch,
        extras=rules.extras,
    )


def locked(wish: Recipe, isolation: Isolation, log: Path) -> Recipe:
    """The recipe with its lock for an isolation; see :func:`compat.isolate.locks.lock`."""
    return replace(wish, lock=locks.lock(wish, isolation.python, log))
