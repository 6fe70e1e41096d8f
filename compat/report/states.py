"""The states of evidence: for a mode on a lane, and for a cell of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from compat.axes import DEFAULT, MODES
from compat.report.model import Column, Finding, State, Symbol, TableCell
from value_steer import versions
from value_steer.contracts.surface import Runner
from value_steer.registry import model as registry
from value_steer.registry.model import Verdict
from value_steer.registry.rows import instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from compat.releases.candidates import Candidate
    from compat.releases.policy import CellKind
    from value_steer.registry.model import StaticCheck
    from value_steer.registry.rows import Row

_GPU = "cuda"
_BAD = {
    Verdict.FAILED: State.FAILED,
    Verdict.WITHDRAWN: State.WITHDRAWN,
    Verdict.UNSUPPORTED: State.UNSUPPORTED,
}


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The code, time and age that evidence is measured by.

    Attributes:
        engine_digest: Of the code that it has to be about.
        now: In UTC; ``None`` if evidence is not to grow old.
        fresh_days: Age in days beyond which it is old.
    """

    engine_digest: str
    now: datetime | None
    fresh_days: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Properties of the matrix that hold for all releases.

    Attributes:
        kinds: The lanes that the policy plans.
        ran: The lanes that have rows.
        yardstick: What the evidence is measured by.
    """

    kinds: tuple[CellKind, ...]
    ran: tuple[str, ...]
    yardstick: Yardstick

    @property
    def has_gpu(self) -> bool:
        """Whether a machine with a GPU has ever brought a row."""
        return any(column_of(lane) is Column.GPU for lane in self.ran)

    def planned(self, column: Column, runner: str) -> tuple[CellKind, ...]:
        """The lanes that the policy plans for a runner in a column."""
        own = (kind for kind in self.kinds if column_of(kind.lane) is column)
        return tuple(kind for kind in own if _builds(kind, runner))

    def lane(self, column: Column, runner: str) -> str | None:
        """The lane for a runner in a column; ``None`` if nothing is planned."""
        return next((kind.lane for kind in self.planned(column, runner)), None)

    def since(self, column: Column, runner: str) -> str | None:
        """The first release that is planned there."""
        own = (kind.since for kind in self.planned(column, runner))
        return min(own, key=Version, default=None)


@dataclass(frozen=True, slots=True)
class Known:
    """One release and its evidence.

    Attributes:
        vllm: Public version, normalised.
        candidate: ``None`` if the index has it no more.
        rows: The evidence.
        static: What its source says.
    """

    vllm: str
    candidate: Candidate | None
    rows: tuple[Row, ...]
    static: tuple[StaticCheck, ...]


def column_of(lane: str) -> Column:
    """The column of a lane."""
    if lane.partition("-")[0] == _GPU:
        return Column.GPU
    return Column.ASYNC if lane.endswith("-async") else Column.CPU


def cell(known: Known, runner: str, column: Column, of: Matrix) -> TableCell:
    """A release on a runner in a column, with all lanes that have rows of it."""
    own = dict.fromkeys(row.cell.lane for row in known.rows if _is_in(row, runner, column, of))
    lanes = tuple(own) or (of.lane(column, runner),)
    found = [finding for lane in lanes for finding in find(known, runner, (column, lane), of)]
    findings = tuple(sorted(found, key=lambda finding: -finding.state.gravity))
    state = findings[0].state
    commands = [command(known.vllm, lane, runner) for lane in lanes]
    return TableCell(
        runner=runner,
        column=column,
        findings=findings,
        why=_why(state, runner, column, of),
        commands=tuple(filter(None, commands)) if can_run(findings, column) else (),
    )


def find(
    known: Known, runner: str, place: tuple[Column, str | None], of: Matrix
) -> tuple[Finding, ...]:
    """The findings for each mode of a release on one lane of a column."""
    column, lane = place
    found = []
    for mode in MODES:
        about = registry.Cell(known.vllm, lane or "", runner, mode)
        row = versions.decide(known.rows, about)
        if row is not None:
            state = _judged(row, of.yardstick)
        elif row := _newest(known.rows, about):
            state = State.NO_VERDICT
        else:
            state = _untested(known, runner, column, of)
        broken = next((c.broken for c in known.static if c.is_about(about)), ())
        # What an older engine could do, or nobody tried, does not help where nothing binds now.
        if broken and state.symbol in (Symbol.STALE, Symbol.OPEN):
            state = State.BROKEN
        found.append(Finding(mode, lane, state, row, broken, _days(row, of.yardstick.now)))
    return tuple(found)


def can_run(findings: Sequence[Finding], column: Column) -> bool:
    """Whether a command would bring anything; a CPU builds what is planned, and nothing else."""
    states = {finding.state for finding in findings}
    without = {State.NO_BUILD} if column is Column.GPU else {State.NO_BUILD, State.UNSCHEDULED}
    return not states & without


def command(vllm: str, lane: str | None, runner: str) -> str | None:
    """The command that runs a cell in a checkout."""
    return lane and f"nox -s compat -- {vllm} --lane {lane} --runner {runner}"


def _builds(kind: CellKind, runner: str) -> bool:
    if kind.runner != DEFAULT:
        return kind.runner == runner
    # On a CPU vLLM builds V2 only where it is told to.
    return runner == Runner.V1 or column_of(kind.lane) is Column.GPU


def _is_in(row: Row, runner: str, column: Column, of: Matrix) -> bool:
    if column_of(row.cell.lane) is not column:
        return False
    if row.cell.runner is not None:
        return row.cell.runner == runner
    # It ended before there was a runner, so it is about each that the lane builds.
    kinds = [kind for kind in of.kinds if kind.lane == row.cell.lane]
    return not kinds or any(_builds(kind, runner) for kind in kinds)


def _judged(row: Row, yardstick: Yardstick) -> State:
    if row.verdict is not Verdict.PASSED:
        return _BAD[row.verdict]
    if row.package.engine_digest != yardstick.engine_digest:
        return State.STALE
    days = _days(row, yardstick.now)
    return State.OLD if days is not None and days > yardstick.fresh_days else State.VALIDATED


def _untested(known: Known, runner: str, column: Column, of: Matrix) -> State:
    """Why there is no row."""
    is_gpu = column is Column.GPU
    if known.candidate is not None and not known.candidate.serves(_GPU if is_gpu else "cpu"):
        return State.NO_BUILD
    if is_gpu and not of.has_gpu:
        return State.NO_HOST
    since = of.since(column, runner)
    is_planned = since is not None and Version(since) <= Version(known.vllm)
    return State.NEVER if is_planned else State.UNSCHEDULED


def _why(state: State, runner: str, column: Column, of: Matrix) -> str:
    """The detail that a word of the table leaves out."""
    if state is State.NO_BUILD:
        return f"the index has no {'GPU' if column is Column.GPU else 'CPU'} build of it"
    if state is not State.UNSCHEDULED:
        return ""
    since = of.since(column, runner)
    return f"the matrix has it from {since} on" if since else "the matrix has no such lane"


def _newest(rows: Sequence[Row], about: registry.Cell) -> Row | None:
    own = (row for row in rows if row.cell.includes(about))
    return max(own, key=lambda row: row.recorded_at, default=None)


def _days(row: Row | None, now: datetime | None) -> int | None:
    return (now - instant(row.recorded_at)).days if row is not None and now is not None else None
