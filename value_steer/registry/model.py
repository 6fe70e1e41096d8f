"""The parts of a registry's row: the cell, the verdict, and what the verdict rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import total_ordering
from typing import ClassVar


class Verdict(str, Enum):
    """The result of a run for its cell.

    ``infra``, ``timeout`` and ``no_evidence`` say nothing and never replace a verdict.
    """

    PASSED = "passed"
    FAILED = "failed"
    INFRA = "infra"
    TIMEOUT = "timeout"
    NO_EVIDENCE = "no_evidence"
    UNSUPPORTED = "unsupported"
    WITHDRAWN = "withdrawn"


class Cause(str, Enum):
    """The step at which a run failed."""

    RESOLVE = "resolve"
    INSTALL = "install"
    IMPORT = "import"
    BOOT = "boot"
    CONTRACT = "contract"
    BEHAVIOUR = "behaviour"
    PERFORMANCE = "performance"


@total_ordering
class Depth(Enum):
    """How deep a run got with everything fine: ``Depth.BOOTS < Depth.FIRES``."""

    NONE = "none"
    RESOLVES = "resolves"
    INSTALLS = "installs"
    IMPORTS = "imports"
    BOOTS = "boots"
    FIRES = "fires"
    EQUAL = "equal"
    PERFORMS = "performs"

    def __lt__(self, other: Depth) -> bool:
        order = list(Depth)
        return order.index(self) < order.index(other)


class Control(str, Enum):
    """Whether the suite noticed a plug-in that does nothing."""

    FIRED = "fired"
    NOT_FIRED = "not_fired"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class Cell:
    """The subject of a verdict.

    Attributes:
        vllm: Public version, normalised (``0.28.0``).
        lane: Device class (``cpu``, ``cuda-sm90``).
        runner: Generation of the model runner; ``None`` if the run ended before there was one.
        mode: What value-steer does (``abstain``).
    """

    vllm: str
    lane: str
    runner: str | None
    mode: str

    def includes(self, other: Cell) -> bool:
        """Whether a verdict on this cell is one on ``other``: no runner stands for each."""
        same = (self.vllm, self.lane, self.mode) == (other.vllm, other.lane, other.mode)
        return same and self.runner in (None, other.runner)


@dataclass(frozen=True, slots=True)
class Upstream:
    """vLLM's wheel by file name and SHA-256."""

    wheel: str | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the run took place; ``None`` for what it did not live to see.

    Attributes:
        setup_sha256: Hash of what was asked for; ``None`` in rows that are older than it.
    """

    isolation: str | None
    image_id: str | None
    lock_sha256: str | None
    python: str | None
    torch: str | None
    device: str | None
    driver: str | None
    setup_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Package:
    """The value-steer under test, and the suite that judged it.

    Attributes:
        version: Version of the wheel.
        commit: Commit of the checkout, 40 hex digits.
        dirty: Whether the checkout differed from that commit.
        wheel_sha256: Hash of the wheel; ``None`` if none was built.
        engine_digest: Hash of the code that decides how the engine is steered.
        suite_digest: Hash of what of the behavioural suite the lane uses.
        contracts_digest: Hash of the contracts; ``None`` in rows that are older than it.
    """

    version: str
    commit: str | None
    dirty: bool
    wheel_sha256: str | None
    engine_digest: str
    suite_digest: str
    contracts_digest: str | None = None


@dataclass(frozen=True, slots=True)
class TestCounts:
    """How the tests of a mode ended; an error is a failure outside of a test's body."""

    __test__: ClassVar[bool] = False

    expected: int
    executed: int
    passed: int
    failed: int
    errors: int
    skipped: int
    sentinels_missing: tuple[str, ...]
    unexpected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who ran it: ``local``, or ``ci`` with the address of the run."""

    kind: str
    run_url: str | None


@dataclass(frozen=True, slots=True)
class StaticCheck:
    """The contracts of a mode on a runner, as read in the source of a release; nothing was run.

    Attributes:
        vllm: Public version, normalised.
        runner: Generation of the model runner.
        mode: What value-steer does (``abstain``).
        checked: How many contracts that needs, at least one.
        broken: Those that do not hold, by id.
        wheel: The wheel that was read, by file name.
        wheel_sha256: Its SHA-256.
        contracts_digest: Hash of the contracts, as in :class:`Package`.
    """

    vllm: str
    runner: str
    mode: str
    checked: int
    broken: tuple[str, ...]
    wheel: str
    wheel_sha256: str
    contracts_digest: str

    @property
    def holds(self) -> bool:
        """Whether value-steer can bind to this release."""
        return not self.broken

    def is_about(self, cell: Cell) -> bool:
        """Whether it speaks of the release, runner and mode of a cell, on whatever lane."""
        return (self.vllm, self.runner, self.mode) == (cell.vllm, cell.runner, cell.mode)


@dataclass(frozen=True, slots=True)
class Imported:
    """Another registry's claim about a version: shown, never counted.

    Attributes:
        imported_at: UTC, RFC 3339 to the second.
        vllm: Public version, normalised.
        result: Its own word (``pass``).
        static: Whether it says that static checks passed; ``None`` if it does not say.
        behavioural: The same of behavioural ones.
        original: The entry as it was, as canonical JSON.
        source_sha256: Hash of the file that it comes from.
    """

    imported_at: str
    vllm: str
    result: str
    static: bool | None
    behavioural: bool | None
    original: str
    source_sha256: str
