"""The evidence as readers of the repository see it: two tables and badges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from compat import lanes
from compat.axes import MODES, RUNNERS
from compat.release import gaps
from compat.report import view
from compat.report.model import Column, State
from compat.report.states import Yardstick
from value_steer.contracts.surface import Runner
from value_steer.registry.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from compat.release.inventory import Inventory
    from compat.report.model import Minor, TableCell
    from value_steer.registry.model import StaticCheck
    from value_steer.registry.rows import Row

_COLUMNS = (
    "vLLM",
    "runner",
    "contracts",
    "lane",
    *MODES,
    "torch",
    "recorded",
    "engine",
)
_WORDS = {State.VALIDATED: "passed", State.STALE: "older code"}
"""Whether the code of a checkout is what was tested, a committed file cannot say."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A badge of shields.io; the date in its message says how old it is."""

    label: str
    message: str
    color: str

    def endpoint(self) -> dict[str, object]:
        """The JSON of shields' endpoint schema."""
        parts = {"label": self.label, "message": self.message, "color": self.color}
        return {"schemaVersion": 1, **parts}


def overview(known: Inventory) -> str:
    """A line per minor, newest first, from what the page is made of.

    It must follow from the registry alone, so the newest evidence is what code is compared with.
    """
    yardstick = Yardstick(view.newest_engine(known.rows), None, known.rules.release.fresh_days)
    places = [f"{runner.upper()} {column.value}" for runner in RUNNERS for column in Column]
    columns = ("vLLM", "contracts", *places, "last run")
    lines = [_minor(minor) for minor in view.minors(known.shown(yardstick))]
    return "\n".join([_line(columns), _line(["---"] * len(columns)), *lines]) + "\n"


def details(known: Inventory) -> str:
    """A line per release, runner and lane, newest release first, the untested ones among them."""
    head = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    lines = [line for version in reversed(known.known) for line in _release(version, known)]
    return "\n".join([*head, *lines]) + "\n"


def badge(series: str, known: Inventory) -> Badge:
    """The badge of the newest release of a series, or of its newest supported one."""
    releases = [v for v in known.known if f"{v.major}.{v.minor}" == series]
    label, newest = f"vLLM {series}", releases[-1]
    good = [version for version in releases if version in known.supported]
    if good:
        colour = "brightgreen" if good[-1] == newest else "yellow"
        return Badge(
            label, f"{good[-1]} passed{_lanes(good[-1], known)}{_day(good[-1], known)}", colour
        )
    rows = gaps.holding(str(newest), known.rows)
    if any(row.verdict is not Verdict.PASSED for row in rows):
        return Badge(label, f"{newest} failed{_day(newest, known)}", "red")
    if rows:
        return Badge(label, f"{newest} in part{_day(newest, known)}", "yellow")
    return Badge(label, f"{newest} not tested", "lightgrey")


def _minor(minor: Minor) -> str:
    head = minor.head
    newest = head.newest
    day = newest.row.recorded_at[:10] if newest and newest.row else ""
    contracts = head.summary.removeprefix("contracts ")
    return _line([head.vllm, contracts, *map(_symbol, head.cells), day])


def _symbol(cell: TableCell) -> str:
    word = cell.named(_WORDS.get(cell.state, cell.state.word))
    return f"{cell.state.symbol.value} {word}"


def _release(version: Version, known: Inventory) -> Iterator[str]:
    rows = gaps.holding(str(version), known.rows)
    read = [check for check in known.registry.static if check.vllm == str(version)]
    ran = {(row.cell.runner or "", row.cell.lane) for row in rows}
    unknown = {check.runner for check in read} - {runner for runner, _ in ran}
    if not ran and not read:
        unknown = {""}
    for runner, lane in sorted(ran | {(runner, "") for runner in unknown}):
        here = [r for r in rows if (r.cell.runner or "", r.cell.lane) == (runner, lane)]
        contracts = _contracts([check for check in read if check.runner == runner])
        told = _told(here) if here else _untold(version, runner, known)
        yield _line([str(version), runner, contracts, lane, *told])


def _told(here: Sequence[Row]) -> list[str]:
    """The cells of a line: the evidence of a release, runner and lane."""
    return [
        *(_verdict(here, mode) for mode in MODES),
        here[-1].environment.torch or "",
        max(row.recorded_at for row in here)[:10],
        ", ".join(sorted({f"`{row.package.engine_digest[:8]}`" for row in here})),
    ]


def _untold(version: Version, runner: str, known: Inventory) -> list[str]:
    """Why there is no evidence."""
    v2_since = [Version(k.since) for k in known.rules.cells if lanes.parse(k.lane).interpreted]
    if not any(c.version == version and c.serves(lanes.CPU) for c in known.candidates):
        why = "no CPU build"
    elif runner == Runner.V2 and not any(since <= version for since in v2_since):
        why = "not in the CPU build"
    else:
        why = "not tested"
    return [why, why, "", "", ""]


def _contracts(read: Sequence[StaticCheck]) -> str:
    """Whether the contracts of each mode hold in the source."""
    if not read:
        return "not checked"
    if all(check.holds for check in read):
        return "hold"
    return ", ".join(f"{len(c.broken)} broken ({c.mode})" for c in read if not c.holds)


def _verdict(rows: Sequence[Row], mode: str) -> str:
    for row in rows:
        if row.cell.mode == mode:
            cause = f" ({row.cause.value})" if row.cause else f", {row.depth.value}"
            return f"{row.verdict.value}{cause}, {row.tests.passed}/{row.tests.expected}"
    return "not tested"


def _lanes(version: Version, known: Inventory) -> str:
    rows = gaps.holding(str(version), known.rows)
    lanes = sorted({row.cell.lane for row in rows if row.verdict is Verdict.PASSED})
    return f" on {', '.join(lanes)}" if lanes else ""


def _day(version: Version, known: Inventory) -> str:
    rows = gaps.holding(str(version), known.rows)
    return f" · {max(row.recorded_at for row in rows)[:10]}" if rows else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
