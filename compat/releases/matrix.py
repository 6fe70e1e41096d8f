"""The cells that the matrix consists of, in the form that GitHub Actions reads."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from compat import lanes
from compat.axes import ASKED_RUNNERS, DEFAULT
from compat.errors import UsageError
from value_steer.records.codec import decode, parse_json
from value_steer.registry.rows import public_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from compat.releases.candidates import Candidate
    from compat.releases.policy import CellKind
    from value_steer.registry.rows import Row

MOST_JOBS = 256
"""GitHub Actions refuses a larger matrix as a whole."""

_LANE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One job of the matrix.

    Attributes:
        name: ``<vllm>-<lane>-<runner>``; fit for a file name.
        vllm: Public version, normalised.
        lane: See :mod:`compat.lanes`.
        runner: ``default`` for the host's own choice, ``v1``, ``v2``.
    """

    name: str
    vllm: str
    lane: str
    runner: str

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``: the kind of machine that runs it."""
        return lanes.family(self.lane)

    def covers(self, row: Row) -> bool:
        """Whether a row can come from this job."""
        if (row.cell.vllm, row.cell.lane) != (self.vllm, self.lane):
            return False
        return self.runner == DEFAULT or row.cell.runner in (None, self.runner)


def planned(candidates: Iterable[Candidate], kinds: Sequence[CellKind]) -> tuple[PlannedCell, ...]:
    """Every kind of cell of every candidate that has such a build, oldest first.

    Raises:
        UsageError: There are none, or more than Actions starts.
    """
    cells = tuple(
        cell(str(candidate.version), kind.lane, kind.runner)
        for candidate in candidates
        for kind in kinds
        if candidate.version >= Version(kind.since) and candidate.serves(kind.lane)
    )
    return _sized(cells, "the plan")


def cell(vllm: str, lane: str, runner: str) -> PlannedCell:
    """A cell with the name that belongs to it."""
    return PlannedCell(f"{vllm}-{lane}-{runner}", vllm, lane, runner)


def dumps(cells: Iterable[PlannedCell]) -> str:
    """The value of ``strategy.matrix``, the same for the same cells."""
    return json.dumps({"include": [asdict(cell) for cell in cells]}, indent=2) + "\n"


def load(path: Path) -> tuple[PlannedCell, ...]:
    """The cells of a matrix that :func:`dumps` wrote.

    Raises:
        UsageError: It cannot be read, or names a cell that no plan contains.
    """
    try:
        body = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as JSON ({error}); write it with `python -m compat plan`"
        raise UsageError(msg) from error
    entries = body.get("include") if isinstance(body, dict) and set(body) == {"include"} else None
    if not isinstance(entries, list):
        msg = f"{path}: must be an object with the list `include`, and nothing else"
        raise UsageError(msg)
    problems: list[str] = []
    read = [decode(PlannedCell, e, f"include[{i}]", problems) for i, e in enumerate(entries)]
    cells = tuple(cell for cell in read if cell is not None)
    problems += [f"{cell.name!r} is no cell" for cell in cells if not _is_sound(cell)]
    if len({cell.name for cell in cells}) < len(cells):
        problems.append("a cell occurs twice")
    mixed = {(c.vllm, c.lane) for c in cells if c.runner == DEFAULT}
    if mixed & {(c.vllm, c.lane) for c in cells if c.runner != DEFAULT}:
        problems.append("a lane has the runner default beside another, so rows belong to both")
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return _sized(cells, str(path))


def _sized(cells: tuple[PlannedCell, ...], where: str) -> tuple[PlannedCell, ...]:
    if not 0 < len(cells) <= MOST_JOBS:
        msg = f"{where} has {len(cells)} cells, needs 1 to {MOST_JOBS}; see cells in the policy"
        raise UsageError(msg)
    return cells


def _is_sound(found: PlannedCell) -> bool:
    return (
        found == cell(found.vllm, found.lane, found.runner)
        and public_version(found.vllm) == found.vllm
        and _LANE.fullmatch(found.lane) is not None
        and found.runner in ASKED_RUNNERS
    )
