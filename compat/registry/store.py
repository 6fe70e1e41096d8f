"""The only writer of the registry and its history: locked, atomic, idempotent.

Rows are added and never changed. The registry keeps those that decide; the others move to the
history, which is written first, so that a writer that is killed leaves a row in both at most.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from packaging.version import Version

from compat import schema
from compat.errors import RecordError
from value_steer import versions
from value_steer.errors import RegistryError
from value_steer.records.codec import encode, parse_json
from value_steer.records.fields import listed
from value_steer.records.files import read_at_most, write_atomically
from value_steer.registry import history
from value_steer.registry.rows import LARGEST_BYTES, SCHEMA_VERSION, Registry, Row, read_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from value_steer.registry.model import Imported, StaticCheck

_LOCK_SECONDS = 60.0
_CLOCK_TOLERANCE = timedelta(minutes=5)


def load(path: Path) -> tuple[Row, ...]:
    """The rows of :func:`load_registry`."""
    return load_registry(path).rows


def load_all(path: Path, vllm: str | None = None) -> tuple[Row, ...]:
    """The rows of a registry and of its history; of the latter, if asked, one release's only.

    Raises:
        RecordError: A file is missing, malformed or violates the schema.
    """
    return tuple(dict.fromkeys((*load(path), *load_history(path, vllm))))


def load_history(path: Path, vllm: str | None = None) -> tuple[Row, ...]:
    """The rows in the history of a registry, of one release if it is named.

    Raises:
        RecordError: A line is malformed or violates the schema.
    """
    rows = _history(path, vllm)
    _refuse(schema.violations(parse_json(render(rows))), str(history.folder(path)))
    return rows


def load_registry(path: Path) -> Registry:
    """All that a registry holds.

    Raises:
        RecordError: The file is missing, malformed or violates the schema.
    """
    try:
        registry = read_registry(path)
        document = parse_json(read_at_most(path, LARGEST_BYTES))
    except (RegistryError, OSError, ValueError) as error:
        raise RecordError(str(error)) from error
    _refuse(schema.violations(document), str(path))
    return registry


def append(path: Path, rows: Sequence[Row], imported: Sequence[Imported] = ()) -> None:
    """Add rows and imported claims to a registry; those that it has already stay as they are.

    What no longer decides moves to the history. A process that is killed here leaves the former
    registry or the new one, never a part, and loses no row.

    Raises:
        RecordError: The registry or a row violates the schema, a row contradicts itself or comes
            from the future, or another process keeps the registry locked.
    """
    refuse_unrecordable(rows)

    def added(former: Registry) -> Registry:
        merged = {row.record_id: row for row in (*former.rows, *rows)}
        # The claims that are there come last, so that the day of their import stays.
        claims = {(c.vllm, c.original): c for c in (*imported, *former.imported)}
        return replace(former, rows=(*merged.values(),), imported=(*claims.values(),))

    _change(path, added)


def replace_static(path: Path, static: Sequence[StaticCheck]) -> None:
    """Put what the sources say now in the place of what they said before.

    They can be read again at any time, so there is no history to keep.

    Raises:
        RecordError: As :func:`append`.
    """
    _change(path, lambda former: replace(former, static=(*static,)))


def _change(path: Path, change: Callable[[Registry], Registry]) -> None:
    lock = path.with_name(f".{path.name}.lock")
    try:
        with FileLock(lock, timeout=_LOCK_SECONDS):
            changed = change(load_registry(path))
            kept = versions.kept(changed.rows)
            text = render(kept, changed.imported, changed.static)
            _refuse(schema.violations(parse_json(text)), "not recorded")
            _file_away(path, set(changed.rows) - set(kept))
            write_atomically(path, text.encode(), durable=True)
    except Timeout as error:
        msg = f"{lock} has been held for {_LOCK_SECONDS:.0f} s; wait for the run that holds it"
        raise RecordError(msg) from error


def _file_away(registry: Path, rows: set[Row]) -> None:
    """Add rows to the history, each to the file of its year, unless it is there."""
    new = rows - set(_history(registry)) if rows else rows
    for year in sorted({_year(row) for row in new}):
        path = history.folder(registry) / f"{year}.jsonl"
        former = path.read_bytes() if path.exists() else b""
        if former and not former.endswith(b"\n"):
            former += b"\n"
        added = "".join(history.line(row) for row in sorted(new, key=_order) if _year(row) == year)
        write_atomically(path, former + added.encode(), durable=True)


def _history(path: Path, vllm: str | None = None) -> tuple[Row, ...]:
    try:
        return history.read(path, vllm)
    except RegistryError as error:
        raise RecordError(str(error)) from error


def _year(row: Row) -> str:
    return row.recorded_at.partition("-")[0]


def render(
    rows: Iterable[Row], imported: Iterable[Imported] = (), static: Iterable[StaticCheck] = ()
) -> str:
    """The text of a registry: the same for the same content, in whatever order it comes."""
    claims = [encode(claim) for claim in sorted(imported, key=_claim_order)]
    checks = [encode(check) for check in sorted(static, key=_static_order)]
    body = {
        "schema_version": SCHEMA_VERSION,
        "rows": [row.to_json() for row in sorted(rows, key=_order)],
        **({"imported": claims} if claims else {}),
        **({"static": checks} if checks else {}),
    }
    return json.dumps(body, indent=2, sort_keys=True) + "\n"


def refuse_unrecordable(rows: Sequence[Row]) -> None:
    """Make sure that rows may enter a registry.

    Raises:
        RecordError: A row violates the schema, contradicts itself or comes from the future.
    """
    _refuse(_unrecordable(rows), "not recorded")


def _unrecordable(rows: Sequence[Row]) -> list[str]:
    latest = datetime.now(timezone.utc) + _CLOCK_TOLERANCE
    problems = [f"rows[{i}]: {why}" for i, row in enumerate(rows) for why in row.contradictions()]
    # A row from the future would outweigh every later one.
    problems += [
        f"rows[{i}].recorded_at = {row.recorded_at!r}: in the future; set this machine's clock"
        for i, row in enumerate(rows)
        if row.recorded_at > latest.strftime("%Y-%m-%dT%H:%M:%SZ")
    ]
    return problems or schema.violations(parse_json(render(rows)))


def _order(row: Row) -> tuple[Version, str, str, str, str, str]:
    cell = row.cell
    runner = cell.runner or ""
    return Version(cell.vllm), cell.lane, runner, cell.mode, row.recorded_at, row.record_id


def _static_order(check: StaticCheck) -> tuple[Version, str, str]:
    return Version(check.vllm), check.runner, check.mode


def _claim_order(claim: Imported) -> tuple[Version, str, str]:
    return Version(claim.vllm), claim.original, claim.imported_at


def _refuse(problems: Sequence[str], where: str) -> None:
    if problems:
        raise RecordError(listed([f"{where}: {problem}" for problem in problems]))
