"""One release by its contracts: which hold, and which it changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from value_steer.contracts.history import releases
from value_steer.contracts.history.changes import default_changes
from value_steer.contracts.history.releases import OLDEST, USED_BY, Selection, change_json
from value_steer.contracts.history.text import change_lines, verdict
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.contracts.history.changes import Change
    from value_steer.contracts.history.releases import Sweep
    from value_steer.contracts.history.snapshot import ContractState
    from value_steer.contracts.runner_default import RunnerDefault


@dataclass(frozen=True, slots=True)
class Holding:
    """Whether all contracts of a mode hold on a runner; ``None`` if there are none."""

    mode: Mode
    runner: Runner
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Story:
    """The contracts of one release.

    Attributes:
        version: The release.
        previous: The release before it; ``None`` for the oldest one.
        holdings: One per mode and model runner.
        broken: The rows that do not hold.
        default: How it chooses its model runner.
        default_since: The release that brought this rule, or the oldest one.
        changes: What it changed in the symbols of the rows.
        rows: How many rows there are.
    """

    version: str
    previous: str | None
    holdings: tuple[Holding, ...]
    broken: tuple[ContractState, ...]
    default: RunnerDefault
    default_since: str
    changes: tuple[Change, ...]
    rows: int


def story(version: str, modes: tuple[Mode, ...] = (*Mode,)) -> Story:
    """The story of a release on the package index; those from 0.19.0 up to it are read.

    Raises:
        ContractError: There is no such release, or it cannot be read.
    """
    found = releases.run(Selection(since=OLDEST, until=version), modes)
    for one in found.unread:
        if Version(one.version) == Version(version):
            raise ContractError(one.reason)
    return tell(found)


def tell(found: Sweep) -> Story:
    """The story of the newest release of a sweep."""
    *_, newest = found.history
    brought = [change.version for change in default_changes(found.history)]
    return Story(
        version=newest.version,
        previous=found.history[-2].version if len(found.history) > 1 else None,
        holdings=tuple(
            Holding(mode, runner, newest.holds(mode, runner))
            for mode in found.modes
            for runner in found.runners
        ),
        broken=found.broken(newest),
        default=newest.runner_default,
        default_since=brought[-1] if brought else found.history[0].version,
        changes=tuple(c for c in found.changes if c.version == newest.version),
        rows=len(found.rows),
    )


def told(version: str) -> Iterator[str]:
    """The story of a release as text, or one line that says why there is none."""
    try:
        yield from lines(story(version))
    except ContractError as err:
        yield f"contracts: not read: {err}"


def lines(of: Story) -> Iterator[str]:
    """The story as text."""
    since = f", {len(of.changes)} changed since {of.previous}" if of.previous else ""
    yield f"{of.rows} contracts with vLLM {of.version}{since}"
    holdings = (f"{h.mode.value}/{h.runner.value} {verdict(h.holds)}" for h in of.holdings)
    yield f"  static verdict: {', '.join(holdings)}"
    yield f"  default model runner: {of.default}, since {of.default_since}"
    for row in of.broken:
        yield f"  does not hold: {row.id}: {row.detail} [must change: {USED_BY[row.id]}]"
    yield from (f"  {line}" for line in change_lines(of.changes))


def to_json(told: Story) -> dict[str, object]:
    """The story as plain JSON values."""
    return {
        "version": told.version,
        "previous": told.previous,
        "holds": [asdict(holding) for holding in told.holdings],
        "broken": [{**asdict(row), "used_by": USED_BY[row.id]} for row in told.broken],
        "runner_default": {**asdict(told.default), "since": told.default_since},
        "changes": [change_json(change) for change in told.changes],
    }
