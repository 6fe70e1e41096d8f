"""Recipes of the environments in which releases are tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.isolate.protocol import Recipe

if TYPE_CHECKING:
    from compat.releases.candidates import Candidate
    from compat.releases.policy import Policy


def recipe(candidate: Candidate, lane: str, rules: Policy) -> Recipe:
    """The recipe of a release's environment, before it is locked.

    Raises:
        UsageError: The release has no build for the lane.
    """
    return Recipe(
        distribution=candidate.build(lane).distribution,
        version=str(candidate.version),
        torch=candidate.torch,
        extras=rules.extras,
    )
