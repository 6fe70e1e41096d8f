"""The whole matrix on one machine, with one job killed on purpose: nothing may be lost or green.

plan → jobs → record → gate, from the files that a workflow passes on, on a copy of the registry.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from compat.checkout import ROOT
from compat.errors import UsageError
from compat.registry import fragments, store
from compat.release import gate
from compat.releases import matrix
from compat.releases.matrix import PlannedCell
from value_steer.registry.model import Verdict

if TYPE_CHECKING:
    from compat.console import Progress
    from value_steer.registry.rows import Row

CellRunner: TypeAlias = Callable[[PlannedCell, Path, "float | None"], int]
"""Runs a cell, writes its fragment, returns its exit status; kills it after so many seconds."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Settings of a rehearsal.

    Attributes:
        cells: The jobs.
        killed: The name of the one that is killed.
        kill_after: Seconds after which it is.
        registry: What is copied and added to.
        out: Folder for everything that comes of it.
    """

    cells: tuple[PlannedCell, ...]
    killed: str
    kill_after: float
    registry: Path
    out: Path


@dataclass(frozen=True, slots=True)
class RehearsalResult:
    """How it went.

    Attributes:
        rows: What the copy of the registry gained.
        obstacles: What keeps the gate shut afterwards.
        faults: Why the rehearsal failed; nothing if all came out as it must.
    """

    rows: tuple[Row, ...]
    obstacles: tuple[str, ...]
    faults: tuple[str, ...]


def rehearse(rehearsal: Rehearsal, run_cell: CellRunner, progress: Progress) -> RehearsalResult:
    """Carry a rehearsal out.

    Raises:
        UsageError: The job to kill is not in the plan, or it has no other.
    """
    if rehearsal.killed not in {cell.name for cell in rehearsal.cells} or len(rehearsal.cells) < 2:
        names = ", ".join(cell.name for cell in rehearsal.cells)
        msg = f"the plan ({names}) needs {rehearsal.killed} and at least one other cell"
        raise UsageError(msg)
    shutil.rmtree(rehearsal.out / "fragments", ignore_errors=True)
    (rehearsal.out / "fragments").mkdir(parents=True)
    plan, registry = rehearsal.out / "plan.json", rehearsal.out / "validated_versions.json"
    plan.write_text(matrix.dumps(rehearsal.cells), encoding="utf-8")
    shutil.copy(rehearsal.registry, registry)
    planned = matrix.load(plan)
    for cell in planned:
        kill_after = rehearsal.kill_after if cell.name == rehearsal.killed else None
        status = run_cell(cell, rehearsal.out / "fragments" / cell.name, kill_after)
        progress.note(f"{cell.name}: exit status {status}")
    merged = fragments.merge(registry, rehearsal.out / "fragments", planned)
    examined = gate.examine(ROOT, registry, planned)
    gained = (*merged.rows, *merged.lost)
    return RehearsalResult(
        gained, examined.obstacles, tuple(_faults(rehearsal, merged, examined, registry))
    )


@dataclass(frozen=True, slots=True)
class Processes:
    """Runs cells as jobs do, each in a process of its own, into a folder of its own.

    Attributes:
        isolation: ``container``, ``venv`` or ``auto``.
        work: Where environments are shared by all cells and kept for the next rehearsal.
    """

    isolation: str
    work: Path

    def __call__(self, cell: PlannedCell, folder: Path, kill_after: float | None) -> int:
        """Run a cell, or as much of it as fits into the time."""
        folder.mkdir(parents=True)
        command = [sys.executable, "-m", "compat", "run", cell.vllm, "--lane", cell.lane]
        command += ["--runner", cell.runner, "--isolation", self.isolation]
        command += ["--fragment", str(folder / "fragment.json"), "--out", str(self.work)]
        command.append("--force")  # a job that reuses evidence rehearses nothing
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                return process.wait(kill_after)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait()
            finally:
                # Ctrl-C reaches this process alone, and ends what it started.
                process.terminate()
                process.wait()


def _faults(
    rehearsal: Rehearsal, merged: fragments.Merged, examined: gate.Examination, registry: Path
) -> list[str]:
    """The points that did not come out as they must."""
    stored = set(store.load_all(registry))
    (killed,) = (cell for cell in rehearsal.cells if cell.name == rehearsal.killed)
    of_killed = [row for row in (*merged.rows, *merged.lost) if killed.covers(row)]
    mute = [cell for cell in merged.lost_cells if cell != killed]
    checks = {
        "rows of the former registry were lost": not set(store.load(rehearsal.registry)) <= stored,
        "rows of a job were lost": not {*merged.rows, *merged.lost} <= stored,
        "fragments were refused": bool(merged.problems),
        f"{', '.join(cell.name for cell in mute)} sent nothing": bool(mute),
        f"{killed.name} is not without evidence": not of_killed
        or any(row.verdict is not Verdict.NO_EVIDENCE for row in of_killed),
        f"the gate does not name {killed.name}": not any(
            killed.name in obstacle for obstacle in examined.obstacles
        ),
    }
    return [fault for fault, applies in checks.items() if applies]
