"""How every contract stands in one vLLM, small enough to keep and to compare."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.contracts.checker import check_sources
from value_steer.contracts.history.shape import shape
from value_steer.contracts.lookup import Sources
from value_steer.contracts.modules import parse
from value_steer.contracts.report import Status
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.runner_default import Rule, RunnerDefault, runner_default
from value_steer.contracts.surface import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from value_steer.contracts.modules import Module
    from value_steer.contracts.sources.tree import SourceTree
    from value_steer.contracts.surface import Runner


@dataclass(frozen=True, slots=True)
class ContractState:
    """How one row stands.

    Attributes:
        id: The row.
        status: ``ok``, or how it fails.
        detail: What is needed and what is there instead.
        shape: What the symbol looks like, ``None`` if it is not there.
    """

    id: str
    status: Status
    detail: str
    shape: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One vLLM: every row, and the runner that it builds by default."""

    version: str
    runner_default: RunnerDefault
    states: tuple[ContractState, ...]

    def needed(self, mode: Mode, runner: Runner) -> tuple[ContractState, ...]:
        """How the rows of a mode on a runner stand."""
        wanted = {s.id for s in SURFACES if mode in s.modes and runner in s.runners}
        return tuple(s for s in self.states if s.id in wanted)

    def holds(self, mode: Mode, runner: Runner) -> bool | None:
        """Whether all rows of a mode on a runner hold; ``None`` if there is no such row."""
        found = [s.status is Status.OK for s in self.needed(mode, runner)]
        return all(found) if found else None


class LastVersions:
    """Parses files, and remembers the last version of each.

    Most files are the same in neighbouring releases, and nothing here changes a module.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, Module]] = {}

    def __call__(self, path: str, text: str) -> Module:
        """The module in the text of a file, as :func:`value_steer.contracts.modules.parse`."""
        kept = self._kept.get(path)
        if kept is None or kept[0] != text:
            self._kept[path] = kept = (text, parse(path, text))
        return kept[1]


_REMEMBERED = LastVersions()


def take(tree: SourceTree) -> Snapshot:
    """Check every row of every mode against a tree.

    Raises:
        ContractError: The tree cannot be read.
    """
    sources = Sources(tree, _REMEMBERED)
    report = check_sources(tree.version(), sources, tuple(Mode))
    states = [
        ContractState(f.surface.id, f.status, f.detail, shape(f.surface, sources))
        for f in report.findings
    ]
    return Snapshot(
        version=report.version or "unreleased",
        runner_default=runner_default(sources),
        states=tuple(states),
    )


@cache
def rows_digest() -> str:
    """Identifies the code that takes a snapshot, so that none outlives a change of it."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def load(path: Path) -> Snapshot | None:
    """A snapshot that was kept; ``None`` if there is none or it cannot be read."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        default = body["runner_default"]
        rule = RunnerDefault(
            Rule(default["rule"]), tuple(default["architectures"]), default["unquantized"]
        )
        rows = [
            ContractState(row["id"], Status(row["status"]), row["detail"], row["shape"])
            for row in body["states"]
        ]
        return Snapshot(body["version"], rule, tuple(rows))
    except (OSError, ValueError, KeyError, TypeError):  # a cache: what is unreadable is made again
        return None


def dump(snapshot: Snapshot) -> bytes:
    """The text that :func:`load` reads."""
    return json.dumps(asdict(snapshot)).encode()


def row_paths() -> Iterable[str]:
    """The files that rows name, each once."""
    return dict.fromkeys(surface.path for surface in SURFACES)
