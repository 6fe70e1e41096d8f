"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from value_steer.contracts.surface import Mode, Runner, Surface


class Status(str, Enum):
    """How a row stands in a source tree."""

    OK = "ok"
    BROKEN = "broken"
    MISSING_FILE = "missing_file"
    MISSING_SYMBOL = "missing_symbol"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one row stands.

    Attributes:
        surface: The row.
        status: ``ok``, or how it fails; a file that is not there says nothing of its symbols.
        detail: What is needed and what is there instead; empty if all is well.
    """

    surface: Surface
    status: Status
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the need is met."""
        return self.status is Status.OK


@dataclass(frozen=True, slots=True)
class Report:
    """How all rows of some modes stand in one vLLM.

    Attributes:
        version: The vLLM version, ``None`` if the source does not state it.
        modes: The modes that were checked.
        runners: The model runners that were checked.
        findings: One per row, in the order of the rows.
        seconds: Wall-clock time of the check.
    """

    version: str | None
    modes: tuple[Mode, ...]
    runners: tuple[Runner, ...]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every need of a model runner is met: vLLM can be made to build that one."""
        return any(map(self.holds, self.runners))

    def on(self, runner: Runner) -> tuple[Finding, ...]:
        """The rows that are needed on one model runner."""
        return tuple(finding for finding in self.findings if runner in finding.surface.runners)

    def holds(self, runner: Runner) -> bool:
        """Whether all needs on a runner are met; a runner without rows proves nothing."""
        found = self.on(runner)
        return bool(found) and all(finding.ok for finding in found)

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The rows that do not hold."""
        return tuple(finding for finding in self.findings if not finding.ok)

    def to_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {
            "version": self.version,
            "ok": self.ok,
            "modes": [mode.value for mode in self.modes],
            "runners": {runner.value: self.holds(runner) for runner in self.runners},
            "seconds": round(self.seconds, 3),
            "findings": [_to_json(finding) for finding in self.findings],
        }


def _to_json(finding: Finding) -> dict[str, object]:
    surface = finding.surface
    return {
        "id": surface.id,
        "status": finding.status.value,
        "detail": finding.detail,
        "path": surface.path,
        "symbol": surface.symbol,
        "modes": sorted(mode.value for mode in surface.modes),
        "runners": sorted(runner.value for runner in surface.runners),
        "used_by": surface.used_by,
        "why": surface.why,
    }
