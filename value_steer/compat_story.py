"""What the contracts say of one release: what holds, what it changed, what is only watched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from value_steer import compat_sweep
from value_steer.compat_lines import change_lines, verdict
from value_steer.compat_sweep import OLDEST, USED_BY, Selection, change_json
from value_steer.contracts.history import default_changes, turns
from value_steer.contracts.surface import Mode, Runner
from value_steer.contracts.watched import WATCHES
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from value_steer.compat_sweep import Sweep
    from value_steer.contracts.history import Change, Turn
    from value_steer.contracts.runner_default import RunnerDefault
    from value_steer.contracts.snapshot import Standing
    from value_steer.contracts.watch import Watch


@dataclass(frozen=True, slots=True)
class Holding:
    """Whether all contracts of a mode hold on a runner; ``None`` if there are none."""

    mode: Mode
    runner: Runner
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Watched:
    """Something that value-steer does not bind to, and the last time that it changed."""

    watch: Watch
    last: Turn


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
        watched: What moves in vLLM and concerns value-steer not.
    """

    version: str
    previous: str | None
    holdings: tuple[Holding, ...]
    broken: tuple[Standing, ...]
    default: RunnerDefault
    default_since: str
    changes: tuple[Change, ...]
    rows: int
    watched: tuple[Watched, ...]


def story(version: str, modes: tuple[Mode, ...] = (*Mode,)) -> Story:
    """The story of a release on the package index; those from 0.19.0 up to it are read.

    Raises:
        ContractError: There is no such release, or one cannot be read.
    """
    return tell(compat_sweep.run(Selection(since=OLDEST, until=version), modes))


def tell(found: Sweep) -> Story:
    """The story of the newest release of a sweep."""
    *_, newest = found.history
    brought = [change.version for change in default_changes(found.history)]
    last = [(watch, [*turns(found.history, watch.id)]) for watch in WATCHES]
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
        watched=tuple(Watched(watch, seen[-1]) for watch, seen in last if seen),
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
    for watched in of.watched:
        when = "changed in" if watched.last.before else "as in"
        yield f"  not bound to: {watched.watch.id}, {when} {watched.last.version}: {watched.last}"
        yield f"    {watched.watch.why}"


def to_json(told: Story) -> dict[str, object]:
    """The story as plain JSON values."""
    return {
        "version": told.version,
        "previous": told.previous,
        "holds": [asdict(holding) for holding in told.holdings],
        "broken": [{**asdict(row), "used_by": USED_BY[row.id]} for row in told.broken],
        "runner_default": {**asdict(told.default), "since": told.default_since},
        "changes": [change_json(change) for change in told.changes],
        "not_bound_to": [
            {"id": seen.watch.id, "why": seen.watch.why, "since": seen.last.version}
            | asdict(seen.last.after)
            for seen in told.watched
        ],
    }
