"""The gate between a checkout and a release."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from compat.errors import CompatError
from compat.release import derive, inventory, overrides
from compat.release.gaps import Moment
from value_steer import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from compat.release.inventory import Inventory
    from compat.releases.matrix import PlannedCell
    from value_steer.registry.rows import Row


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of an examination.

    Attributes:
        obstacles: All that keeps the gate shut, one per line.
        waived: What a reviewed decision stands in for; worth saying, no obstacle.
    """

    obstacles: tuple[str, ...]
    waived: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether a release may be built."""
        return not self.obstacles


def examine(
    root: Path,
    registry: Path | None = None,
    plan: Sequence[PlannedCell] = (),
    moment: Moment | None = None,
) -> Examination:
    """Find everything that keeps the gate shut, a malformed file included.

    Args:
        root: The checkout.
        registry: Its registry, if it is not the one in the checkout.
        plan: Cells of a run of the matrix, each of which must have come to a verdict.
        moment: The code and the time to compare with; those of the checkout and now by default.
    """
    try:
        known = inventory.load(root, registry)
    except CompatError as error:
        return Examination((str(error),), ())
    at = moment or Moment(versions.engine_digest(root / "value_steer"), datetime.now(timezone.utc))
    days = known.rules.release.override_days
    checks = (
        lambda: overrides.problems(known.overrides, at.now.date(), days),
        lambda: _misnamed(known),
        lambda: _unsupported(root, known, at),
        lambda: unsettled(plan, known.rows),
        lambda: _drifted(root, known),
    )
    obstacles = dict.fromkeys(text for check in checks for text in _told(check))
    return Examination(tuple(obstacles), tuple(_waived(known)))


def unsettled(plan: Sequence[PlannedCell], rows: Sequence[Row]) -> Iterator[str]:
    """The cells of a plan whose newest run gave no verdict, or of which there is no run at all."""
    for cell in plan:
        own = [row for row in rows if cell.covers(row)]
        if not own:
            yield f"{cell.name}: no row in the registry; its job was lost"
        for mode in sorted({row.cell.mode for row in own}):
            newest = max((row for row in own if row.cell.mode == mode), key=_age)
            if newest.verdict not in versions.DECIDING:
                yield f"{cell.name} ({mode}): {newest.verdict.value}: {newest.reason}"


def _told(check: Callable[[], Iterator[str]]) -> list[str]:
    """The findings of a check; one that cannot be made does not keep the others from being made."""
    try:
        return list(check())
    except CompatError as error:
        return [str(error)]


def _drifted(root: Path, known: Inventory) -> Iterator[str]:
    for path in derive.drift(root, known):
        yield f"{path.relative_to(root)} has drifted; `python -m compat derive` writes it anew"


def _misnamed(known: Inventory) -> Iterator[str]:
    for override in known.overrides:
        if Version(override.vllm) not in known.known:
            yield f"override for vLLM {override.vllm}: no such release is known"


def _unsupported(root: Path, known: Inventory, moment: Moment) -> Iterator[str]:
    """The unsupported releases among those that an installer may choose for the extra."""
    chosen = derive.inside(derive.stated_extra(root).specifier, known.known)
    if not chosen:
        yield "the extra vllm admits no known release"
    for version in chosen:
        for gap in known.gaps(str(version), moment):
            yield gap.text


def _waived(known: Inventory) -> Iterator[str]:
    for override in known.overrides:
        what = f"vLLM {override.vllm}: {override.action.value} until {override.expires}"
        yield f"{what}, by {override.reviewed_by}: {override.reason}"


def _age(row: Row) -> tuple[str, bool]:
    return row.recorded_at, row.verdict not in versions.DECIDING
