"""Rows of ``validated_versions.json``: read strictly, refused if they contradict themselves."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from packaging.version import Version

from value_steer.errors import RegistryError
from value_steer.records.codec import decode, encode, parse_json
from value_steer.records.fields import listed, shown
from value_steer.records.files import read_at_most
from value_steer.registry.model import (
    Cause,
    Cell,
    Control,
    Depth,
    Environment,
    Imported,
    Package,
    Provenance,
    StaticCheck,
    TestCounts,
    Upstream,
    Verdict,
)

if TYPE_CHECKING:
    from pathlib import Path

Record = TypeVar("Record")

LARGEST_BYTES = 16 << 20
"""Of a registry, and of a year of its history; a release of vLLM adds 16 rows of 1 KiB."""

SCHEMA_VERSION = 1
"""Version of the registry's format."""

_LATER = (("environment", "setup_sha256"), ("package", "contracts_digest"))
"""Fields that rows did not have from the beginning; one that is ``None`` is not written."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run's verdict on one cell, with all that is needed to judge and to repeat it.

    Attributes:
        recorded_at: UTC, RFC 3339 to the second (``2030-01-31T23:59:59Z``).
        swallowed_errors: Steps that went on after an error; ``None`` if not counted.
        seconds: Wall-clock time of the run.
    """

    recorded_at: str
    cell: Cell
    verdict: Verdict
    cause: Cause | None
    reason: str | None
    depth: Depth
    upstream: Upstream
    environment: Environment
    package: Package
    tests: TestCounts
    negative_control: Control
    swallowed_errors: int | None
    report_sha256: str | None
    seconds: float
    provenance: Provenance

    @property
    def record_id(self) -> str:
        """SHA-256 of the canonical JSON of the row."""
        text = json.dumps(_encoded(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, object]:
        """The row as it is stored."""
        return {"record_id": self.record_id, **_encoded(self)}

    @classmethod
    def from_json(cls, body: object, at: str = "row") -> Row:
        """Read a row as it is stored.

        Raises:
            RegistryError: A key is unknown, missing or of the wrong type, or the row contradicts
                itself; all problems are listed, each with its place.
        """
        problems: list[str] = []
        row = _row(body, at, problems)
        if row is None or problems:
            raise RegistryError(listed(problems))
        return row

    def contradictions(self) -> list[str]:
        """Why the row cannot be true as it stands; above all, why a pass is none."""
        found = _shape(self) + (_false_pass(self) if self.verdict is Verdict.PASSED else [])
        if (self.verdict is Verdict.FAILED) != (self.cause is not None):
            found.append("a cause belongs to a failed row, and to no other")
        return found


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry as it is stored.

    Attributes:
        rows: The evidence.
        imported: What other registries claimed. It is shown and never counts: no code that
            decides anything is given it.
        static: What the sources of all releases say, as they were when it was asked for last.
    """

    rows: tuple[Row, ...]
    imported: tuple[Imported, ...] = ()
    static: tuple[StaticCheck, ...] = ()


def read_rows(path: Path) -> tuple[Row, ...]:
    """The rows of :func:`read_registry`."""
    return read_registry(path).rows


def read_registry(path: Path) -> Registry:
    """All that a registry holds.

    Raises:
        RegistryError: The file is missing or malformed; all problems are listed.
    """
    try:
        body = parse_json(read_at_most(path, LARGEST_BYTES))
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as JSON ({error}); restore it from the release"
        raise RegistryError(msg) from error
    problems: list[str] = []
    stored = _document(body, problems)
    rows = [_row(entry, f"rows[{i}]", problems) for i, entry in enumerate(stored["rows"])]
    claims = [
        _imported(entry, f"imported[{i}]", problems) for i, entry in enumerate(stored["imported"])
    ]
    static = [_static(entry, f"static[{i}]", problems) for i, entry in enumerate(stored["static"])]
    if problems:
        raise RegistryError(listed([f"{path}: {problem}" for problem in problems]))
    return Registry(_there(rows), _there(claims), _there(static))


def _there(entries: list[Record | None]) -> tuple[Record, ...]:
    return tuple(entry for entry in entries if entry is not None)


def _document(body: object, problems: list[str]) -> dict[str, list[object]]:
    """The lists of a registry; empty where they are wrong or left out."""
    lists: dict[str, list[object]] = {"rows": [], "imported": [], "static": []}
    keys = set(body) if isinstance(body, dict) else set()
    if not isinstance(body, dict) or keys - {"imported", "static"} != {"schema_version", "rows"}:
        problems.append(
            "must be an object with schema_version and rows, perhaps imported and static, and "
            "nothing else"
        )
        return lists
    version = body["schema_version"]
    if version is True or version != SCHEMA_VERSION:
        problems.append(f"schema_version = {shown(version)}: this release reads {SCHEMA_VERSION}")
    for name in keys - {"schema_version"}:
        if isinstance(body[name], list):
            lists[name] = body[name]
        else:
            problems.append(f"{name}: must be a list")
    return lists


def _row(body: object, at: str, problems: list[str]) -> Row | None:
    stored = dict(body) if isinstance(body, dict) else body
    record_id = stored.pop("record_id", None) if isinstance(stored, dict) else None
    row = decode(Row, _completed(stored), at, problems)
    if row is None:
        return None
    problems += [f"{at}: {contradiction}" for contradiction in row.contradictions()]
    if record_id != row.record_id:
        stated = f"{at}.record_id = {shown(record_id)}"
        problems.append(f"{stated}: the content hashes to {row.record_id}")
    return row


def _imported(body: object, at: str, problems: list[str]) -> Imported | None:
    claim = decode(Imported, body, at, problems)
    if claim is None:
        return None
    if not _is_time(claim.imported_at):
        problems.append(f"{at}.imported_at = {shown(claim.imported_at)}: must be UTC to the second")
    if claim.vllm != public_version(claim.vllm):
        problems.append(f"{at}.vllm = {shown(claim.vllm)}: must be a normalised public version")
    return claim


def _static(body: object, at: str, problems: list[str]) -> StaticCheck | None:
    found = decode(StaticCheck, body, at, problems)
    if found is None:
        return None
    if found.vllm != public_version(found.vllm):
        problems.append(f"{at}.vllm = {shown(found.vllm)}: must be a normalised public version")
    if not 0 < found.checked >= len(found.broken):
        problems.append(f"{at}.checked = {found.checked}: must be positive, and not below broken")
    return found


def _encoded(row: Row) -> dict[str, object]:
    body: dict[str, dict[str, object]] = encode(row)
    for part, name in _LATER:
        if body[part][name] is None:
            del body[part][name]
    return {**body}


def _completed(body: object) -> object:
    """A stored row with all fields that a row has by now."""
    if not isinstance(body, dict):
        return body
    complete = dict(body)
    for part, name in _LATER:
        if isinstance(complete.get(part), dict):
            complete[part] = {name: None, **complete[part]}
    return complete


def _shape(row: Row) -> list[str]:
    found, tests = [], row.tests
    if not _is_time(row.recorded_at):
        stated = f"recorded_at = {shown(row.recorded_at)}"
        found.append(f"{stated}: must be UTC as in 2030-01-31T23:59:59Z")
    if row.cell.vllm != public_version(row.cell.vllm):
        found.append(f"cell.vllm = {shown(row.cell.vllm)}: must be a normalised public version")
    if tests.executed != tests.passed + tests.failed + tests.errors:
        found.append("tests: executed is not passed + failed + errors")
    if tests.executed + tests.skipped > tests.expected:
        found.append("tests: more were executed and skipped than expected")
    return found


def _false_pass(row: Row) -> list[str]:
    tests = row.tests
    doubts = {
        "no runner": row.cell.runner is None,
        f"depth {row.depth.value}": row.depth < Depth.FIRES,
        "no test": tests.expected == 0,
        "tests that did not pass": tests.passed != tests.expected or tests.skipped > 0,
        "missing sentinels": bool(tests.sentinels_missing),
        "unexpected tests": bool(tests.unexpected),
        "a negative control that did not fire": row.negative_control is not Control.FIRED,
        "swallowed errors": row.swallowed_errors != 0,
    }
    return [f"passed with {doubt}" for doubt, applies in doubts.items() if applies]


def instant(text: str) -> datetime:
    """The time in a text as rows state it, ``2026-11-28T05:46:59Z``.

    Raises:
        ValueError: It is none, such as a day that its month does not have.
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")


def _is_time(text: str) -> bool:
    if _TIME.fullmatch(text) is None:
        return False
    try:
        instant(text)
    except ValueError:
        return False
    return True


def public_version(text: str) -> str | None:
    """A version without its build (``0.28.0+cpu`` is ``0.28.0``), or ``None`` if it is none."""
    try:
        return Version(text).public
    except ValueError:  # InvalidVersion is one, and so are more digits than Python reads
        return None


_TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ")
