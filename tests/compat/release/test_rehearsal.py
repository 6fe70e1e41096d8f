"""The rehearsal of the matrix, with jobs that are fake and fast."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from compat import cli
from compat.console import Progress
from compat.errors import ExitCode, UsageError
from compat.registry import fragments, store
from compat.release import rehearsal
from compat.releases import matrix
from tests.compat.checkouts import evidence
from value_steer.registry.model import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from compat.releases.matrix import PlannedCell
    from value_steer.registry.rows import Row

FORMER = evidence("0.27.1")
CELLS = tuple(matrix.cell(version, "cpu", "default") for version in ("0.28.0", "0.32.0"))
KILLED = "0.32.0-cpu-default"


@dataclass
class FakeJobs:
    """Write good rows, unless they are killed, or told to stay silent."""

    silent: tuple[str, ...] = ()
    unkillable: bool = False
    ran: list[tuple[str, float | None]] = field(default_factory=list)

    def __call__(self, cell: PlannedCell, folder: Path, kill_after: float | None) -> int:
        """One job."""
        self.ran.append((cell.name, kill_after))
        killed = kill_after is not None and not self.unkillable
        if killed or cell.name in self.silent:
            return -9
        fragments.write(folder / "fragment.json", evidence(cell.vllm, lane=cell.lane))
        return 0


@pytest.fixture
def order(tmp_path: Path) -> rehearsal.Rehearsal:
    """Two cells, of which the second is killed."""
    registry = tmp_path / "registry.json"
    registry.write_text(store.render(FORMER), encoding="utf-8")
    return rehearsal.Rehearsal(CELLS, KILLED, 5.0, registry, tmp_path / "out")


QUIET = Progress(Console(quiet=True))


def test_a_killed_job_is_no_evidence_and_shuts_the_gate(order: rehearsal.Rehearsal) -> None:
    """The other job's rows and all former ones are there, and the registry itself is untouched."""
    jobs = FakeJobs()
    before = order.registry.read_bytes()
    outcome = rehearsal.rehearse(order, jobs, QUIET)

    assert outcome.faults == ()
    assert jobs.ran == [("0.28.0-cpu-default", None), (KILLED, 5.0)]
    stored = store.load(order.out / "validated_versions.json")
    verdicts = {(r.cell.vllm, r.cell.mode): r.verdict for r in stored}
    assert verdicts == {
        **{("0.27.1", mode): Verdict.PASSED for mode in ("abstain", "vfd")},
        **{("0.28.0", mode): Verdict.PASSED for mode in ("abstain", "vfd")},
        **{("0.32.0", mode): Verdict.NO_EVIDENCE for mode in ("abstain", "vfd")},
    }
    assert any(text.startswith(f"{KILLED} (abstain): no_evidence") for text in outcome.obstacles)
    assert not any("0.28.0-cpu-default" in text for text in outcome.obstacles)
    assert order.registry.read_bytes() == before


@pytest.mark.parametrize(
    ("jobs", "fault"),
    [
        (FakeJobs(unkillable=True), f"{KILLED} is not without evidence"),
        (FakeJobs(silent=("0.28.0-cpu-default",)), "0.28.0-cpu-default sent nothing"),
    ],
)
def test_a_rehearsal_can_fail(order: rehearsal.Rehearsal, jobs: FakeJobs, fault: str) -> None:
    """A kill that did not take, and a job that failed by itself, are faults."""
    assert fault in rehearsal.rehearse(order, jobs, QUIET).faults


@pytest.mark.parametrize(
    ("cells", "killed"), [(CELLS, "0.33.0-cpu-default"), (CELLS[1:], KILLED), (CELLS, "")]
)
def test_there_must_be_one_to_kill_and_one_to_live(
    order: rehearsal.Rehearsal, cells: tuple[PlannedCell, ...], killed: str
) -> None:
    """Else nothing would be shown."""
    with pytest.raises(UsageError, match="at least one other cell"):
        rehearsal.rehearse(
            rehearsal.Rehearsal(cells, killed, 5.0, order.registry, order.out), FakeJobs(), QUIET
        )


def test_a_process_is_killed_with_what_it_has_not_yet_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real runner of jobs, in front of a program that takes long."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    start = time.monotonic()

    run = rehearsal.Processes("venv", tmp_path / "work")
    status = run(CELLS[0], tmp_path / "fragments" / CELLS[0].name, 0.2)

    assert status == -9
    assert time.monotonic() - start < 30


def test_the_command_rehearses_what_the_plan_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releases by series, cells from the policy, the last one killed."""
    jobs = FakeJobs()
    monkeypatch.setattr(rehearsal, "Processes", lambda *_: jobs)
    out = tmp_path / "out"

    code = cli.main(["rehearse", "0.21", "0.22", "--out", str(out), "--kill-after", "7"])

    assert code == ExitCode.PASSED
    assert jobs.ran == [
        ("0.21.0-cpu-default", None),
        ("0.21.0-cpu-async-default", None),
        ("0.22.1-cpu-default", None),
        ("0.22.1-cpu-async-default", 7.0),
    ]
    assert [cell.name for cell in matrix.load(out / "plan.json")] == [name for name, _ in jobs.ran]
    rows: tuple[Row, ...] = store.load(out / "validated_versions.json")
    assert set(store.load(cli.REGISTRY)) < set(rows)
