"""The records of the page and the README's table; nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from value_steer.registry.rows import Row


class Symbol(Enum):
    """The symbol of a cell; of several the last one is shown."""

    VALIDATED = "✓"
    STALE = "◐"
    OPEN = "○"
    FAILS = "✗"


class State(Enum):
    """The state of a mode in a cell, and its words."""

    VALIDATED = (Symbol.VALIDATED, "validated")
    OLD = (Symbol.STALE, "old")
    STALE = (Symbol.STALE, "stale")
    NO_BUILD = (Symbol.OPEN, "no build")
    UNSCHEDULED = (Symbol.OPEN, "unscheduled")
    NO_HOST = (Symbol.OPEN, "unscheduled: no host")
    NEVER = (Symbol.OPEN, "never run")
    NO_VERDICT = (Symbol.OPEN, "no verdict")
    UNSUPPORTED = (Symbol.FAILS, "unsupported")
    WITHDRAWN = (Symbol.FAILS, "withdrawn")
    BROKEN = (Symbol.FAILS, "contracts broken")
    FAILED = (Symbol.FAILS, "fails")

    @property
    def symbol(self) -> Symbol:
        """Its symbol in the table."""
        return self.value[0]

    @property
    def word(self) -> str:
        """The word beside the symbol."""
        return self.value[1]

    @property
    def gravity(self) -> int:
        """Its rank: of several states a cell shows the gravest."""
        return list(State).index(self)


class Column(Enum):
    """Where a model runner runs: the groups of lanes that the table has a column for."""

    CPU = "CPU"
    ASYNC = "async"
    GPU = "GPU"


class Contracts(Enum):
    """Whether the contracts of a runner hold in the source of a release, in all modes."""

    HOLD = "contracts hold"
    BROKEN = "contracts broken"
    UNCHECKED = "contracts not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of a mode on a lane.

    Attributes:
        mode: ``abstain``, ``vfd``.
        lane: ``None`` where the matrix has none.
        state: What it comes to.
        row: The row that it rests on, if there is one.
        broken: The contracts that do not hold, by id.
        days: Age of the row in days; ``None`` where there is none, or no clock.
    """

    mode: str
    lane: str | None
    state: State
    row: Row | None = None
    broken: tuple[str, ...] = ()
    days: int | None = None


@dataclass(frozen=True, slots=True)
class TableCell:
    """A release on a model runner in a column.

    Attributes:
        runner: ``v1``, ``v2``.
        findings: One for each mode of each lane, the gravest first.
        why: What the word of the table leaves out; empty if nothing.
        commands: How to reproduce it, one for each lane.
    """

    runner: str
    column: Column
    findings: tuple[Finding, ...]
    why: str
    commands: tuple[str, ...]

    @property
    def state(self) -> State:
        """The gravest of its findings."""
        return self.findings[0].state

    @property
    def word(self) -> str:
        """Its word in the table."""
        return self.named(self.state.word)

    def named(self, word: str) -> str:
        """A word for its state, with the mode if only some are so."""
        gravest = [finding for finding in self.findings if finding.state is self.state]
        modes = sorted({finding.mode for finding in gravest})
        partly = len(modes) < len({finding.mode for finding in self.findings})
        return f"{', '.join(modes)} {word}" if partly else word

    @property
    def rows(self) -> tuple[Row, ...]:
        """The evidence, each row once."""
        return tuple(dict.fromkeys(f.row for f in self.findings if f.row is not None))


@dataclass(frozen=True, slots=True)
class Moved:
    """A release's changes upstream.

    Attributes:
        vllm: The release.
        lines: Names that value-steer binds to, torch, the default runner; ``None`` if not known.
    """

    vllm: str
    lines: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Release:
    """One release of vLLM.

    Attributes:
        cells: By runner and column, in the order of the table.
        contracts: By runner.
        is_supported: Whether it is inside the extra.
        last_good: The newest earlier release that passed somewhere in every mode.
        moved: What changed since then, oldest first.
        hours: From its upload to its first verdict; ``None`` if one of them is not known.
        uploaded: UTC, RFC 3339 to the second; ``None`` if not known.
        runner_default: Which runner it builds; ``None`` if not known.
    """

    vllm: str
    cells: tuple[TableCell, ...]
    contracts: dict[str, Contracts]
    is_supported: bool
    last_good: str | None
    moved: tuple[Moved, ...]
    hours: float | None
    uploaded: str | None
    runner_default: str | None

    @property
    def evidence(self) -> tuple[tuple[TableCell, Finding], ...]:
        """Everything that rests on a row, with its cell."""
        return tuple((c, f) for c in self.cells for f in c.findings if f.row is not None)

    @property
    def newest(self) -> Finding | None:
        """The finding with the newest row."""
        found = [finding for _, finding in self.evidence]
        return max(found, key=lambda f: f.row.recorded_at if f.row else "", default=None)

    @property
    def summary(self) -> str:
        """Its contracts in a few words."""
        said = {contracts.value for contracts in self.contracts.values()}
        if len(said) == 1:
            return said.pop()
        return ", ".join(
            f"{r.upper()} {contracts.value}" for r, contracts in self.contracts.items()
        )


@dataclass(frozen=True, slots=True)
class Minor:
    """A series of releases, the newest first; that one is its row of the table."""

    series: str
    releases: tuple[Release, ...]

    @property
    def head(self) -> Release:
        """The newest release."""
        return self.releases[0]


@dataclass(frozen=True, slots=True)
class Device:
    """A device that somebody may run vLLM on.

    Attributes:
        id: What is typed for it, and what stands in an address.
        name: What it is called in a list.
        phrase: In a sentence, after "on".
        there: In a sentence, after "never run".
        column: Where the table has it.
        lane: The lane that is about it; of a CPU, that of the column and the runner.
        aliases: What else is typed for it.
    """

    id: str
    name: str
    phrase: str
    there: str
    column: Column
    lane: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence for one reader.

    Attributes:
        symbol: At a glance.
        text: One sentence.
        command: To be copied; ``None`` if nothing would settle it.
    """

    symbol: Symbol
    text: str
    command: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The sentence for a release, a device and a runner (``v1``, ``v2`` or ``default``)."""

    vllm: str
    device: str
    runner: str
    sentence: Sentence
