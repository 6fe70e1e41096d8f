"""``value-steer-compat`` over releases that are not installed: what holds, what changed when."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from value_steer.contracts.history import snapshot as snapshots
from value_steer.contracts.history.changes import changes, default_changes
from value_steer.contracts.history.sweep import Unread, sweep
from value_steer.contracts.report import Status
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.sources import index, pip_config
from value_steer.contracts.sources.archive import archive_tree
from value_steer.contracts.sources.tree import directory_tree
from value_steer.contracts.sources.wheel import cache_folder
from value_steer.contracts.surface import Runner
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from value_steer.contracts.history.changes import Change
    from value_steer.contracts.history.snapshot import ContractState, Snapshot
    from value_steer.contracts.sources.index import IndexWheel
    from value_steer.contracts.surface import Mode

OLDEST = "0.19.0"
_PROJECT = "vllm"
_ARCHITECTURES = ("LlamaForCausalLM", "Qwen3ForCausalLM")

USED_BY = {surface.id: surface.used_by for surface in SURFACES}
"""The function or method of value-steer that each row is needed by."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which releases to look at.

    Attributes:
        exact: One release.
        since: Every release from this one on.
        until: With ``since``, up to this one, which must exist.
        against: A folder or tarball of vLLM that comes after all of them.
        architectures: Model classes whose default runner is shown.
    """

    exact: str | None = None
    since: str | None = None
    until: str | None = None
    against: Path | None = None
    architectures: tuple[str, ...] = _ARCHITECTURES


@dataclass(frozen=True, slots=True)
class Sweep:
    """The result of a sweep.

    Attributes:
        modes: The modes that are reported.
        history: One snapshot per release, oldest first.
        architectures: Model classes whose default runner is shown.
        runners: The model runners that are reported.
        unread: Releases that are not in ``history``, for their wheels cannot be read.
    """

    modes: tuple[Mode, ...]
    history: tuple[Snapshot, ...]
    architectures: tuple[str, ...]
    runners: tuple[Runner, ...] = (*Runner,)
    unread: tuple[Unread, ...] = ()

    @property
    def rows(self) -> frozenset[str]:
        """The rows of the reported modes and runners."""
        return frozenset(
            s.id
            for s in SURFACES
            if s.modes.intersection(self.modes) and s.runners.intersection(self.runners)
        )

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes in those rows."""
        return tuple(change for change in changes(self.history) if change.id in self.rows)

    @property
    def first_changes(self) -> dict[str, str | None]:
        """For each row the first release that changed it, ``None`` if none did."""
        first = {change.id: change.version for change in reversed(self.changes)}
        return {row: first.get(row) for row in sorted(self.rows)}

    def broken(self, snapshot: Snapshot) -> tuple[ContractState, ...]:
        """The rows that do not hold in a release."""
        return tuple(
            state
            for state in snapshot.states
            if state.id in self.rows and state.status is not Status.OK
        )

    @property
    def ok(self) -> bool:
        """Whether every release that was read has a model runner on which every row holds."""
        return all(
            any(all(snapshot.holds(mode, r) for mode in self.modes) for r in self.runners)
            for snapshot in self.history
        )


def run(
    selection: Selection, modes: tuple[Mode, ...], runners: tuple[Runner, ...] = (*Runner,)
) -> Sweep:
    """Check the selected releases.

    Raises:
        ContractError: A release does not exist, or none of them can be read.
    """
    # A path is wrong more often than the network, and faster to find out.
    unreleased = () if selection.against is None else (_unreleased(selection.against),)
    settings = pip_config.pip_settings()
    wheels = index.for_reading(index.project_wheels(_PROJECT, settings))
    found = sweep(select(selection, wheels), settings, cache_folder())
    unread = tuple(one for one in found if isinstance(one, Unread))
    if len(unread) == len(found):
        raise ContractError("; ".join(one.reason for one in unread))
    history = tuple(one for one in found if not isinstance(one, Unread))
    return Sweep(modes, (*history, *unreleased), selection.architectures, runners, unread)


def select(selection: Selection, wheels: Sequence[IndexWheel]) -> tuple[IndexWheel, ...]:
    """The wheels to read; with nothing but ``against`` the newest one, to compare with.

    Raises:
        ContractError: No wheel matches.
    """
    if selection.exact is not None:
        chosen = [wheel for wheel in wheels if wheel.version == _version(selection.exact)]
    elif selection.since is not None:
        chosen = [wheel for wheel in wheels if wheel.version >= _version(selection.since)]
        if selection.until is not None:
            last = _version(selection.until)
            there = any(wheel.version == last for wheel in chosen)
            chosen = [wheel for wheel in chosen if there and wheel.version <= last]
    else:
        chosen = list(wheels[-1:])
    if not chosen:
        known = ", ".join(str(w.version) for w in wheels if w.version >= Version(OLDEST))
        msg = f"the index has no such release of vLLM; it has {known or 'none'}"
        raise ContractError(msg)
    return tuple(chosen)


def to_json(found: Sweep) -> dict[str, object]:
    """The sweep as plain JSON values."""
    return {
        "ok": found.ok,
        "modes": [mode.value for mode in found.modes],
        "releases": [_release(found, snapshot) for snapshot in found.history],
        "unread": [asdict(one) for one in found.unread],
        "changes": [change_json(change) for change in found.changes],
        "first_changes": found.first_changes,
        "runner_default_changes": [asdict(change) for change in default_changes(found.history)],
    }


def change_json(change: Change) -> dict[str, object]:
    """A change, and whether value-steer has to follow it where."""
    must_change = change.after.status is not Status.OK
    return {**asdict(change), "used_by": USED_BY[change.id], "must_change": must_change}


def _release(found: Sweep, snapshot: Snapshot) -> dict[str, object]:
    default = snapshot.runner_default
    return {
        "version": snapshot.version,
        "contracts": {
            mode.value: {runner.value: snapshot.holds(mode, runner) for runner in found.runners}
            for mode in found.modes
        },
        "broken": [asdict(state) for state in found.broken(snapshot)],
        "runner_default": {
            **asdict(default),
            "of": {name: default.of(name) for name in found.architectures},
        },
    }


def _unreleased(path: Path) -> Snapshot:
    return snapshots.take(directory_tree(path) if path.is_dir() else archive_tree(path))


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion as err:
        msg = f"{text!r} is no version; write one such as {OLDEST}"
        raise ContractError(msg) from err
