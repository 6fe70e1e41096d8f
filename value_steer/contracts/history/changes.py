"""From the snapshots of many releases to what changed in which."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from value_steer.contracts.history.shape import difference
from value_steer.contracts.report import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from value_steer.contracts.history.snapshot import ContractState, Snapshot
    from value_steer.contracts.runner_default import RunnerDefault


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
    before: ContractState
    after: ContractState

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


def changes(history: Sequence[Snapshot]) -> Iterator[Change]:
    """The rows that differ from each release to the next, oldest first."""
    for older, newer in pairwise(history):
        was = {state.id: state for state in older.states}
        for state in newer.states:
            before = was.get(state.id)  # there is none in the release that a row begins with
            if before is not None and before != state:
                yield Change(newer.version, state.id, before, state)


def default_changes(history: Sequence[Snapshot]) -> Iterator[DefaultChange]:
    """The releases that choose the model runner by another rule than the one before."""
    for older, newer in pairwise(history):
        if older.runner_default != newer.runner_default:
            yield DefaultChange(newer.version, older.runner_default, newer.runner_default)


def _state(state: ContractState) -> str:
    if state.status is Status.OK:
        return state.shape or "ok"
    return f"{state.status.value} ({state.shape or state.detail})"
