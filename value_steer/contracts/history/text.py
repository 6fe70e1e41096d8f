"""The sweep as text: a table, what is broken, what changed when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.contracts.history.changes import default_changes
from value_steer.contracts.history.releases import USED_BY
from value_steer.contracts.report import Status
from value_steer.contracts.rows import SURFACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from value_steer.contracts.history.changes import Change, DefaultChange
    from value_steer.contracts.history.releases import Sweep

_SYMBOLS = {surface.id: (surface.path, surface.symbol) for surface in SURFACES}


def lines(found: Sweep) -> Iterator[str]:
    """All that a sweep found."""
    yield from _table(found)
    yield from unread_lines(found)
    for snapshot in found.history:
        for row in found.broken(snapshot):
            yield f"{snapshot.version}: {row.id}: {row.detail} [used by {USED_BY[row.id]}]"
    yield from default_lines(default_changes(found.history))
    yield from change_lines(found.changes)
    if len(found.history) > 1:
        yield from _first_changes(found)


def unread_lines(found: Sweep) -> Iterator[str]:
    """The releases that were not checked."""
    for one in found.unread:
        yield f"{one.version}: not checked: {one.reason}"


def default_lines(changed: Iterable[DefaultChange]) -> Iterator[str]:
    """The releases that choose the model runner otherwise."""
    for change in changed:
        yield f"changed in {change.version}: default model runner: {change}"


def change_lines(changed: Iterable[Change]) -> Iterator[str]:
    """Changes of the rows; those of one symbol, which change together, share a line."""
    together: dict[tuple[str, str, tuple[str, str], bool], list[str]] = {}
    for change in changed:
        holds = change.after.status is Status.OK
        key = (change.version, str(change), _SYMBOLS[change.id], holds)
        together.setdefault(key, []).append(change.id)
    for (version, text, _, still), rows in together.items():
        users = ", ".join(dict.fromkeys(USED_BY[row] for row in rows))
        must = "" if still else f" [must change: {users}]"
        yield f"changed in {version}: {', '.join(rows)}: {text}{must}"


def _table(found: Sweep) -> Iterator[str]:
    columns = [(mode, runner) for mode in found.modes for runner in found.runners]
    head = ["vLLM", *(f"{mode.value}/{runner.value}" for mode, runner in columns)]
    rows = [[*head, *found.architectures]]
    for snapshot in found.history:
        cells = [verdict(snapshot.holds(mode, runner)) for mode, runner in columns]
        defaults = [snapshot.runner_default.of(name) for name in found.architectures]
        rows.append([snapshot.version, *cells, *defaults])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _first_changes(found: Sweep) -> Iterator[str]:
    first = found.first_changes
    same = sum(version is None for version in first.values())
    span = f"{found.history[0].version} to {found.history[-1].version}"
    yield f"{same} of {len(first)} contracts look the same from {span}; the others changed first in"
    for snapshot in found.history:
        if rows := [row for row, version in first.items() if version == snapshot.version]:
            yield f"  {snapshot.version}: {', '.join(rows)}"


def verdict(holds: bool | None) -> str:  # noqa: FBT001
    """A cell of the table."""
    return {True: "hold", False: "BROKEN", None: "no rows"}[holds]
