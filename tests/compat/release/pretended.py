"""Cells, rows of them, and jobs that only pretend to run, for the tests of sweeps."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from compat.releases import matrix
from tests.compat.samples import CELL, PASSED

if TYPE_CHECKING:
    from compat.releases.matrix import PlannedCell
    from value_steer.registry.rows import Row

EMPTY = '{\n  "rows": [],\n  "schema_version": 1\n}\n'


def cells(*names: str, lane: str = "cpu", runner: str = "default") -> list[PlannedCell]:
    """Cells of one lane."""
    return [matrix.cell(name, lane, runner) for name in names]


def row(cell: PlannedCell, like: Row = PASSED, **changes: object) -> Row:
    """A row of a cell."""
    runner = "v1" if cell.runner == "default" else cell.runner
    own = replace(CELL, vllm=cell.vllm, lane=cell.lane, runner=runner)
    return replace(like, cell=own, **changes)  # type: ignore[arg-type]


@dataclass
class FakeJob:
    """Ends with a status after it was asked some times."""

    status: int
    polls: int = 1
    told: list[str] = field(default_factory=list)

    def poll(self) -> int | None:
        """One step nearer to the end."""
        self.polls -= 1
        return self.status if self.polls < 0 or "wait" in self.told else None

    def terminate(self) -> None:
        """Remember it."""
        self.told.append("terminate")

    def wait(self, timeout: float | None = None) -> int:
        """A job that is told to end ends unless it hangs."""
        if timeout is not None and self.status == HANGS and "kill" not in self.told:
            raise subprocess.TimeoutExpired([], timeout)
        self.told.append("wait")
        return self.status

    def kill(self) -> None:
        """Remember it."""
        self.told.append("kill")


HANGS = 99


@dataclass
class FakeStart:
    """Starts fakes, and sees which run at once."""

    statuses: dict[str, int] = field(default_factory=dict)
    polls: int = 1
    jobs: dict[PlannedCell, FakeJob] = field(default_factory=dict)
    last: dict[str, bool] = field(default_factory=dict)
    at_once: list[set[str]] = field(default_factory=list)

    def __call__(self, cell: PlannedCell, is_last: bool) -> FakeJob:  # noqa: FBT001
        """A new fake."""
        self.jobs[cell] = FakeJob(self.statuses.get(cell.name, 0), self.polls)
        self.last[cell.name] = is_last
        running = {c for c, job in self.jobs.items() if "wait" not in job.told}
        self.at_once.append({c.name for c in running})
        return self.jobs[cell]
