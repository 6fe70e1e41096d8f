"""Rows of one job each, written apart and brought together; a job without rows is no evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from compat import checkout
from compat.axes import DEFAULT
from compat.cell import recording
from compat.cell.verdict import REQUIRED_SENTINELS
from compat.errors import CompatError, ReportError
from compat.registry import store
from value_steer.records.files import write_atomically
from value_steer.registry.model import (
    Cell,
    Control,
    Depth,
    Environment,
    TestCounts,
    Upstream,
    Verdict,
)
from value_steer.registry.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from compat.releases.matrix import PlannedCell
    from value_steer.registry.model import Package, Provenance

LARGEST_BYTES = 16 << 20
"""A larger fragment is refused: 16 MiB."""

PATTERN = "fragment*.json"


@dataclass(frozen=True, slots=True)
class Gathered:
    """The fragments that the jobs of a plan left behind.

    Attributes:
        rows: Every good row, whatever job it came from.
        problems: Fragments that were refused, each with its reason.
    """

    rows: tuple[Row, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows that a registry gained.

    Attributes:
        rows: From the jobs.
        lost: One per mode of a cell from which nothing came.
        problems: Fragments that were refused, each with its reason.
        plan: The cells that had a job.
    """

    rows: tuple[Row, ...]
    lost: tuple[Row, ...]
    problems: tuple[str, ...]
    plan: tuple[PlannedCell, ...]

    @property
    def lost_cells(self) -> tuple[PlannedCell, ...]:
        """The cells from which something is missing."""
        return tuple(cell for cell in self.plan if any(map(cell.covers, self.lost)))


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows of one job, checked as those of the registry are.

    Raises:
        RecordError: A row cannot be true.
    """
    store.refuse_unrecordable(rows)
    write_atomically(path, store.render(rows).encode())


def gather(folder: Path, plan: Sequence[PlannedCell] | None = None) -> Gathered:
    """Read all fragments below a folder; a bad one does not cost the others.

    Args:
        folder: Where the jobs' results were brought together; its content is not trusted.
        plan: The cells that had a job; rows of any other are refused. ``None`` accepts all.

    Raises:
        ReportError: There is no such folder, and no plan that says what is missing from it.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; it must hold the fragments of the jobs"
        if plan is None:
            raise ReportError(msg)
        return Gathered((), (msg,))  # every job may have been lost, which the plan will show
    rows: dict[str, Row] = {}
    problems = []
    for path in sorted(folder.rglob(PATTERN)):
        try:
            rows |= {row.record_id: row for row in _read(path, folder, plan)}
        except CompatError as error:
            problems.append(str(error))
    return Gathered(tuple(rows.values()), tuple(problems))


def merge(registry: Path, folder: Path, plan: Sequence[PlannedCell] | None = None) -> Merged:
    """Add to a registry what jobs left, and a row for each planned cell that left nothing.

    Raises:
        ReportError: There is no such folder, and no plan that says what is missing from it.
        RecordError: The registry cannot be written.
    """
    gathered = gather(folder, plan)
    lost: tuple[Row, ...] = ()
    if plan is not None:
        packages = {lane: checkout.identify(lane) for lane in {cell.lane for cell in plan}}
        lost = tuple(missing(plan, gathered.rows, packages, recording.provenance()))
    merged = Merged(gathered.rows, lost, gathered.problems, tuple(plan or ()))
    store.append(registry, (*merged.rows, *merged.lost))
    return merged


def missing(
    plan: Sequence[PlannedCell],
    rows: Sequence[Row],
    packages: Mapping[str, Package],
    provenance: Provenance,
) -> Iterator[Row]:
    """A row that says ``no_evidence`` for each mode of each cell from which nothing came.

    Args:
        plan: The cells that had a job.
        rows: What came of all jobs.
        packages: The checkout that was to be tested, by lane.
        provenance: The run that noticed.
    """
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for cell in plan:
        runner = None if cell.runner == DEFAULT else cell.runner
        reported = {row.cell.mode for row in rows if cell.covers(row)}
        for mode in sorted(set(REQUIRED_SENTINELS) - reported):
            yield Row(
                recorded_at=now,
                cell=Cell(cell.vllm, cell.lane, runner, mode),
                verdict=Verdict.NO_EVIDENCE,
                cause=None,
                reason=f"nothing came back from {cell.name}",
                depth=Depth.NONE,
                upstream=Upstream(None, None),
                environment=Environment(None, None, None, None, None, None, None),
                package=packages[cell.lane],
                tests=TestCounts(0, 0, 0, 0, 0, 0, (), ()),
                negative_control=Control.NOT_RUN,
                swallowed_errors=None,
                report_sha256=None,
                seconds=0.0,
                provenance=provenance,
            )


def _read(path: Path, folder: Path, plan: Sequence[PlannedCell] | None) -> tuple[Row, ...]:
    if path.is_symlink() or folder.resolve() not in path.resolve().parents:
        msg = f"{path}: a link is no fragment"
        raise ReportError(msg)
    if path.stat().st_size > LARGEST_BYTES:
        msg = f"{path}: larger than {LARGEST_BYTES >> 20} MiB; a fragment is far smaller"
        raise ReportError(msg)
    rows = store.load(path)
    store.refuse_unrecordable(rows)
    if any(row.verdict is Verdict.WITHDRAWN for row in rows):
        msg = f"{path}: withdraws something, for good, which no run of a cell does"
        raise ReportError(msg)
    strangers = [row.cell for row in rows if plan is not None and not _is_planned(row, plan)]
    if strangers:
        msg = f"{path}: {strangers[0]} is in no job of the plan"
        raise ReportError(msg)
    return rows


def _is_planned(row: Row, plan: Sequence[PlannedCell]) -> bool:
    return any(cell.covers(row) for cell in plan)
