"""Gaps that keep a release of vLLM outside the extra, by the demands of the policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING

from compat import lanes
from value_steer import versions
from value_steer.registry.model import Verdict
from value_steer.registry.rows import instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from compat.releases.policy import Demands
    from value_steer.registry.rows import Row


class GapKind(str, Enum):
    """A defect of the evidence for a release on a lane, in a mode."""

    MISSING = "missing"
    BAD = "bad"
    WEAK = "weak"
    STALE = "stale"
    OLD = "old"


EXPIRED = frozenset({GapKind.STALE, GapKind.OLD})
"""Expired, not failed: a release waits, but the extra keeps the version."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One lack, and a line that names the cell, the row and what would settle it."""

    kind: GapKind
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """The code and the time that evidence is compared with.

    Attributes:
        engine_digest: Of the code that would be released.
        now: In UTC.
    """

    engine_digest: str
    now: datetime


def holding(vllm: str, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The row that holds for each cell of a release.

    A row of a run that ended before there was a runner counts only where no runner has its own
    cell; where one has, it was weighed there.
    """
    own = versions.current([row for row in rows if row.cell.vllm == vllm])
    runners = {(cell.lane, cell.mode) for cell in own if cell.runner is not None}
    return tuple(
        row
        for cell, row in own.items()
        if cell.runner is not None or (cell.lane, cell.mode) not in runners
    )


def find_gaps(vllm: str, rows: Sequence[Row], demands: Demands, moment: Moment) -> tuple[Gap, ...]:
    """The gaps of a release; none if it may be released with.

    On each lane and mode one runner must have all that is demanded, and none may have failed.
    """
    held = holding(vllm, rows)
    found: list[Gap] = []
    for lane, mode in product(demands.lanes, demands.modes):
        here = [r for r in held if fnmatchcase(r.cell.lane, lane) and r.cell.mode == mode]
        found += _among(here, demands, moment) if here else [_missing(vllm, lane, mode)]
    return tuple(found)


def name(row: Row) -> str:
    """A row as messages name it."""
    cell = row.cell
    runner = cell.runner or "any runner"
    place = f"vLLM {cell.vllm} on {cell.lane} ({runner}, {cell.mode})"
    return f"{place}: row {row.record_id[:12]} of {row.recorded_at[:10]}"


def _missing(vllm: str, lane: str, mode: str) -> Gap:
    place = "" if "*" in lane else lane
    text = f"vLLM {vllm} on {lane} ({mode}): no evidence; `{_command(vllm, place)}` makes some"
    return Gap(GapKind.MISSING, text)


def _command(vllm: str, lane: str, runner: str | None = None) -> str:
    """The command that makes evidence, without options that a CPU's own lane does not need."""
    place = f" --lane {lane}" if lane not in ("", lanes.CPU) else ""
    return f"nox -s compat -- {vllm}{place}{' --runner v2' if runner == 'v2' else ''}"


def _among(here: Sequence[Row], demands: Demands, moment: Moment) -> list[Gap]:
    bad = [r for r in here if r.verdict is not Verdict.PASSED]
    if bad:
        return [Gap(GapKind.BAD, f"{name(r)} says {_outcome(r)}") for r in bad]
    lacking = [list(_of(row, demands, moment)) for row in here]
    return min(lacking, key=_gravity)


def _of(row: Row, demands: Demands, moment: Moment) -> Iterator[Gap]:
    """The gap of a passed row."""
    if row.depth < demands.depth:
        text = f"reached the depth {row.depth.value}, and {demands.depth.value} is demanded"
        yield Gap(GapKind.WEAK, f"{name(row)} {text}")
    if row.package.dirty:
        yield Gap(GapKind.WEAK, f"{name(row)} is about a checkout that differed from a commit")
    if row.provenance.kind not in demands.provenance:
        text = f"comes from {row.provenance.kind}, which does not count"
        yield Gap(GapKind.WEAK, f"{name(row)} {text}")
    if row.package.engine_digest != moment.engine_digest:
        text = f"is stale: about the engine {row.package.engine_digest[:12]}, not about this one"
        command = _command(row.cell.vllm, row.cell.lane, row.cell.runner)
        again = f"({moment.engine_digest[:12]}); `{command}` renews it"
        yield Gap(GapKind.STALE, f"{name(row)} {text} {again}")
    age = moment.now - instant(row.recorded_at)
    if age > timedelta(days=demands.fresh_days):
        text = f"is {age.days} days old, and at most {demands.fresh_days} are allowed"
        yield Gap(GapKind.OLD, f"{name(row)} {text}")
    if age < -_CLOCK_TOLERANCE:
        yield Gap(GapKind.WEAK, f"{name(row)} is from the future; a clock was wrong")


def _gravity(lacking: Sequence[Gap]) -> tuple[int, int]:
    """The order of gaps: evidence that only expired weighs less than what was never good."""
    return sum(s.kind not in EXPIRED for s in lacking), len(lacking)


def _outcome(row: Row) -> str:
    cause = f" ({row.cause.value})" if row.cause else ""
    return f"{row.verdict.value}{cause}: {row.reason}"


_CLOCK_TOLERANCE = timedelta(minutes=5)
