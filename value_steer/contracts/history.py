"""From the snapshots of many releases to what changed in which."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from value_steer.contracts.report import Status
from value_steer.contracts.shape import difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from value_steer.contracts.runner_default import RunnerDefault
    from value_steer.contracts.snapshot import Snapshot, Standing
    from value_steer.contracts.watch import Sighting


@dataclass(frozen=True, slots=True)
class Change:
    """A row that stands or looks otherwise than one release before.

    Attributes:
        version: The first release of the new state.
        id: The row.
        before: How it stood.
        after: How it stands.
    """

    version: str
    id: str
    before: Standing
    after: Standing

    def __str__(self) -> str:
        old, new = self.before, self.after
        if old.status is new.status is Status.OK and old.shape and new.shape:
            return difference(old.shape, new.shape)
        return f"{_state(old)} → {_state(new)}"


@dataclass(frozen=True, slots=True)
class DefaultChange:
    """Another rule by which vLLM chooses its model runner.

    Attributes:
        version: The first release of the new rule.
        before: The rule until then.
        after: The rule from then on.
    """

    version: str
    before: RunnerDefault
    after: RunnerDefault

    def __str__(self) -> str:
        old, new = self.before, self.after
        if (old.rule, old.unquantized) != (new.rule, new.unquantized):
            return f"{old} → {new}"
        gained = [f"+{name}" for name in new.architectures if name not in old.architectures]
        lost = [f"-{name}" for name in old.architectures if name not in new.architectures]
        return " ".join([f"{new.condition}:", *gained, *lost])


@dataclass(frozen=True, slots=True)
class Turn:
    """What a watch saw from one release on.

    Attributes:
        version: The release.
        before: What it saw until then; ``None`` for the oldest release.
        after: What it sees from then on.
    """

    version: str
    before: Sighting | None
    after: Sighting

    def __str__(self) -> str:
        if self.after.seen is None:
            return "not there"
        moved = self.before is None or self.before.place != self.after.place
        if self.before is None or self.before.seen is None or moved:
            return f"{self.after.seen} [{self.after.place}]"
        return difference(self.before.seen, self.after.seen)


def changes(history: Sequence[Snapshot]) -> Iterator[Change]:
    """The rows that differ from each release to the next, oldest first."""
    for older, newer in pairwise(history):
        was = {standing.id: standing for standing in older.standings}
        for standing in newer.standings:
            if was[standing.id] != standing:
                yield Change(newer.version, standing.id, was[standing.id], standing)


def default_changes(history: Sequence[Snapshot]) -> Iterator[DefaultChange]:
    """The releases that choose the model runner by another rule than the one before."""
    for older, newer in pairwise(history):
        if older.runner_default != newer.runner_default:
            yield DefaultChange(newer.version, older.runner_default, newer.runner_default)


def turns(history: Sequence[Snapshot], watch: str) -> Iterator[Turn]:
    """What a watch saw in the oldest release, and each time that it saw something else."""
    before: Sighting | None = None
    for snapshot in history:
        seen = next((sighting for sighting in snapshot.watched if sighting.id == watch), None)
        if seen is not None and seen != before:
            yield Turn(snapshot.version, before, seen)
            before = seen


def _state(standing: Standing) -> str:
    if standing.status is Status.OK:
        return standing.shape or "ok"
    return f"{standing.status.value} ({standing.shape or standing.detail})"
