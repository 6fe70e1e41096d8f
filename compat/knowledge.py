"""All that is known in a checkout: evidence, candidates, policy and reviewed decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from compat import overrides, plan, policy, record, standing
from compat.overrides import Action
from compat.standing import Moment

if TYPE_CHECKING:
    from pathlib import Path

    from compat.evidence import Registry, Row
    from compat.overrides import Override
    from compat.plan import Candidate
    from compat.policy import Policy
    from compat.standing import Shortcoming

REGISTRY = "validated_versions.json"

_NO_MOMENT = Moment("", datetime.max.replace(tzinfo=timezone.utc))
"""All evidence is stale and old by then, which is what must not matter."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a checkout knows.

    Attributes:
        registry: The evidence, and claims of other registries.
        candidates: The releases that could be tested, oldest first.
        rules: The policy.
        overrides: Reviewed decisions, expired ones among them.
    """

    registry: Registry
    candidates: tuple[Candidate, ...]
    rules: Policy
    overrides: tuple[Override, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The evidence."""
        return self.registry.rows

    @property
    def known(self) -> tuple[Version, ...]:
        """Every release that is a candidate or has a row, in order."""
        tested = {Version(row.cell.vllm) for row in self.rows}
        return tuple(sorted(tested | {candidate.version for candidate in self.candidates}))

    @property
    def supported(self) -> tuple[Version, ...]:
        """The releases that belong inside the extra, in order.

        Evidence that grew old or stale keeps a release inside; the gate is what it shuts. So what
        is derived from this changes with the registry, and not by itself.
        """
        return tuple(version for version in self.known if self._belongs(str(version)))

    def shortcomings(self, vllm: str, moment: Moment) -> tuple[Shortcoming, ...]:
        """What a release lacks after the reviewed decisions."""
        found = standing.shortcomings(vllm, self.rows, self.rules.release, moment)
        included = self.decision(vllm) is Action.INCLUDE
        return tuple(s for s in found if not included or s.lack is standing.Lack.BAD)

    def decision(self, vllm: str) -> Action | None:
        """The reviewed decision on a release."""
        return next((o.action for o in self.overrides if o.vllm == vllm), None)

    def _belongs(self, vllm: str) -> bool:
        if self.decision(vllm) is Action.EXCLUDE:
            return False
        lacks = {shortcoming.lack for shortcoming in self.shortcomings(vllm, _NO_MOMENT)}
        return lacks <= standing.PERISHED


def load(root: Path, registry: Path | None = None) -> Knowledge:
    """Read what a checkout knows.

    Args:
        root: The checkout.
        registry: Its registry, if it is not the one in the checkout.

    Raises:
        CompatError: A file is missing or malformed.
    """
    stored = record.load_registry(registry or root / REGISTRY)
    matrix = root / "matrix"
    return Knowledge(
        registry=stored,
        candidates=plan.load(matrix / "candidates.json"),
        rules=policy.load(matrix / "policy.yaml"),
        overrides=overrides.load(matrix / "overrides.yaml"),
    )
