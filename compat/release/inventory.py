"""All that is known in a checkout: evidence, candidates, policy and reviewed decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from compat.registry import store
from compat.release import gaps, overrides
from compat.release.gaps import Moment
from compat.release.overrides import Action
from compat.releases import policy
from compat.releases.candidates import load_candidates
from compat.report.view import Sources

if TYPE_CHECKING:
    from pathlib import Path

    from compat.release.gaps import Gap
    from compat.release.overrides import Override
    from compat.releases.candidates import Candidate
    from compat.releases.policy import Policy
    from compat.releases.upstream import Upstream
    from compat.report.states import Yardstick
    from value_steer.registry.rows import Registry, Row

REGISTRY = "validated_versions.json"

_NO_MOMENT = Moment("", datetime.max.replace(tzinfo=timezone.utc))
"""All evidence is stale and old by then, which is what must not matter."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """A checkout's registry, releases, policy and decisions.

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

    def gaps(self, vllm: str, moment: Moment) -> tuple[Gap, ...]:
        """The gaps of a release after the reviewed decisions."""
        found = gaps.find_gaps(vllm, self.rows, self.rules.release, moment)
        included = self.decision(vllm) is Action.INCLUDE
        return tuple(s for s in found if not included or s.kind is gaps.GapKind.BAD)

    def decision(self, vllm: str) -> Action | None:
        """The reviewed decision on a release."""
        return next((o.action for o in self.overrides if o.vllm == vllm), None)

    def shown(
        self,
        yardstick: Yardstick,
        history: tuple[Row, ...] = (),
        upstream: tuple[Upstream, ...] = (),
    ) -> Sources:
        """The sources of tables and of the page."""
        return Sources(
            registry=self.registry,
            history=history,
            candidates=self.candidates,
            supported=self.supported,
            kinds=self.rules.cells,
            upstream=upstream,
            yardstick=yardstick,
        )

    def _belongs(self, vllm: str) -> bool:
        if self.decision(vllm) is Action.EXCLUDE:
            return False
        lacks = {gap.kind for gap in self.gaps(vllm, _NO_MOMENT)}
        return lacks <= gaps.EXPIRED


def load(root: Path, registry: Path | None = None) -> Inventory:
    """Read what a checkout knows.

    Args:
        root: The checkout.
        registry: Its registry, if it is not the one in the checkout.

    Raises:
        CompatError: A file is missing or malformed.
    """
    stored = store.load_registry(registry or root / REGISTRY)
    matrix = root / "matrix"
    return Inventory(
        registry=stored,
        candidates=load_candidates(matrix / "candidates.json"),
        rules=policy.load(matrix / "policy.yaml"),
        overrides=overrides.load(matrix / "overrides.yaml"),
    )
