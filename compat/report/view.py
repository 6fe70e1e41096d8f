"""From the registry to the table and the sentences: all that the page says is computed here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

from packaging.version import Version

from compat.axes import DEFAULT, MODES, RUNNERS
from compat.report.devices import DEVICES
from compat.report.model import Answer, Column, Contracts, Minor, Moved, Release
from compat.report.sentence import Asked, Part, sentence
from compat.report.states import (
    Known,
    Matrix,
    Yardstick,
    can_run,
    cell,
    column_of,
    command,
    find,
)
from value_steer import versions
from value_steer.contracts.runner_default import Rule
from value_steer.contracts.surface import Runner
from value_steer.registry.model import Verdict
from value_steer.registry.rows import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compat.releases.candidates import Candidate
    from compat.releases.policy import CellKind
    from compat.releases.upstream import Upstream
    from compat.report.model import Device
    from value_steer.registry.rows import Registry, Row

Goods: TypeAlias = "Sequence[tuple[str, frozenset[tuple[str | None, str | None]]]]"


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that the page is made of.

    Attributes:
        registry: The evidence that decides, and what the sources of vLLM say.
        history: The rows that decide no more; they know when a release was first judged.
        candidates: The releases on the index.
        supported: Those inside the extra.
        kinds: The lanes of the policy.
        upstream: What each release changed.
        yardstick: What evidence is measured by.
    """

    registry: Registry
    history: tuple[Row, ...]
    candidates: tuple[Candidate, ...]
    supported: tuple[Version, ...]
    kinds: tuple[CellKind, ...]
    upstream: tuple[Upstream, ...]
    yardstick: Yardstick

    @property
    def matrix(self) -> Matrix:
        """The properties that hold for all releases."""
        ran = dict.fromkeys(row.cell.lane for row in self.registry.rows)
        return Matrix(self.kinds, tuple(ran), self.yardstick)

    @property
    def known(self) -> tuple[Known, ...]:
        """Each release with its evidence, oldest first."""
        candidates = {str(candidate.version): candidate for candidate in self.candidates}
        tested = (row.cell.vllm for row in self.registry.rows)
        return tuple(
            Known(
                vllm=vllm,
                candidate=candidates.get(vllm),
                rows=tuple(row for row in self.registry.rows if row.cell.vllm == vllm),
                static=tuple(c for c in self.registry.static if c.vllm == vllm),
            )
            for vllm in sorted({*candidates, *tested}, key=Version)
        )


def newest_engine(rows: Sequence[Row]) -> str:
    """The engine that the newest evidence is about; empty without evidence."""
    newest = max(rows, key=lambda row: (row.recorded_at, row.record_id), default=None)
    return newest.package.engine_digest if newest else ""


def minors(sources: Sources) -> tuple[Minor, ...]:
    """The rows of the table, newest first."""
    known = sources.known
    series: dict[str, list[Release]] = {}
    for index in reversed(range(len(known))):
        version = Version(known[index].vllm)
        found = _release(known, index, sources)
        series.setdefault(f"{version.major}.{version.minor}", []).append(found)
    return tuple(Minor(name, tuple(releases)) for name, releases in series.items())


def answers(sources: Sources) -> tuple[Answer, ...]:
    """A sentence for every release, device and runner."""
    matrix, known = sources.matrix, sources.known
    good = [(of.vllm, _good(of)) for of in reversed(known)]
    rules = {release.vllm: release.runner_default for release in sources.upstream}
    return tuple(
        Answer(of.vllm, device.id, runner, sentence(_asked(good, of, device, chosen, matrix)))
        for of in known
        for device in DEVICES
        for runner in (DEFAULT, *RUNNERS)
        for chosen in [_chosen(runner, device, rules.get(of.vllm))]
    )


def _release(known: Sequence[Known], index: int, sources: Sources) -> Release:
    of, matrix = known[index], sources.matrix
    upstream = {release.vllm: release for release in sources.upstream}
    about = upstream.get(of.vllm)
    good = next((k for k in reversed(range(index)) if _good(known[k])), None)
    between = known[(good if good is not None else index - 1) + 1 : index + 1]
    return Release(
        vllm=of.vllm,
        cells=tuple(cell(of, runner, column, matrix) for runner, column in _PLACES),
        contracts={runner: _contracts(of, runner) for runner in RUNNERS},
        is_supported=Version(of.vllm) in sources.supported,
        last_good=known[good].vllm if good is not None else None,
        moved=tuple(
            Moved(k.vllm, (*_torch(known, known.index(k)), *there.changes) if there else None)
            for k in between
            for there in [upstream.get(k.vllm)]
        ),
        hours=_hours(of.vllm, (*of.rows, *sources.history), about),
        uploaded=about.uploaded if about else None,
        runner_default=about.runner_default if about else None,
    )


def _good(of: Known) -> frozenset[tuple[str | None, str | None]]:
    """The lanes and runners on which a release passed in every mode."""
    passed: dict[tuple[str | None, str | None], set[str]] = {}
    for about, row in versions.current(of.rows).items():
        if row.verdict is Verdict.PASSED:
            passed.setdefault((about.lane, about.runner), set()).add(about.mode)
    return frozenset(place for place, modes in passed.items() if modes >= {*MODES})


def _torch(known: Sequence[Known], index: int) -> tuple[str, ...]:
    """The torch that a release demands, where it is another than before."""
    new, old = known[index].candidate, known[index - 1].candidate if index else None
    if new is None or old is None or new.torch == old.torch:
        return ()
    return (f"torch {old.torch} → {new.torch}",)


def _contracts(of: Known, runner: str) -> Contracts:
    checks = [check for check in of.static if check.runner == runner]
    if not checks:
        return Contracts.UNCHECKED
    return Contracts.HOLD if all(check.holds for check in checks) else Contracts.BROKEN


def _hours(vllm: str, rows: Sequence[Row], about: Upstream | None) -> float | None:
    first = min(
        (r.recorded_at for r in rows if r.cell.vllm == vllm and r.verdict in versions.DECIDING),
        default=None,
    )
    if first is None or about is None or about.uploaded is None:
        return None
    return (instant(first) - instant(about.uploaded)).total_seconds() / 3600


def _chosen(runner: str, device: Device, rule: str | None) -> tuple[str, tuple[str, ...]]:
    """The runners that a reader may have, and how the sentence names them."""
    if runner != DEFAULT:
        return runner.upper(), (runner,)
    # A CPU build has no Triton, without which vLLM builds V1.
    sure = Runner.V1.value if device.column is not Column.GPU else rule
    if sure in (Rule.V1.value, Rule.V2.value):
        return f"its default runner, {sure.upper()}", (sure,)
    return "whichever runner it builds for your model", RUNNERS


def _asked(
    good: Goods,
    of: Known,
    device: Device,
    chosen: tuple[str, tuple[str, ...]],
    matrix: Matrix,
) -> Asked:
    name, runners = chosen
    lanes = {runner: device.lane or matrix.lane(device.column, runner) for runner in runners}
    parts = tuple(
        Part(r, _contracts(of, r), find(of, r, (device.column, lane), matrix))
        for r, lane in lanes.items()
    )
    last = runners[-1]
    findings = [finding for part in parts for finding in part.findings]
    is_possible = can_run(findings, device.column)
    return Asked(
        vllm=of.vllm,
        device=device,
        runner=name,
        parts=parts,
        elsewhere=_elsewhere(of, lanes),
        last_good=next((vllm for vllm, at in good if at >= {(lanes[r], r) for r in lanes}), None),
        command=command(of.vllm, lanes[last], last) if is_possible else None,
    )


def _elsewhere(of: Known, lanes: dict[str, str | None]) -> tuple[str, ...]:
    """Where else a release passed, in words."""
    found: dict[str, dict[str, None]] = {}
    for row in versions.current(of.rows).values():
        if row.verdict is Verdict.PASSED and row.cell.lane not in lanes.values():
            words = _PLACE_WORDS[column_of(row.cell.lane)]
            found.setdefault(words, {})[(row.cell.runner or "").upper()] = None
    return tuple(f"{words} with {' and '.join(runners)}" for words, runners in found.items())


_PLACES = tuple(product(RUNNERS, Column))
_PLACE_WORDS = {
    Column.CPU: "a CPU",
    Column.ASYNC: "a CPU with asynchronous scheduling",
    Column.GPU: "another GPU",
}
