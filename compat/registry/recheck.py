"""Asks the package index whether what was tested is still offered, and withdraws what is not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from compat.errors import InfraError
from compat.releases.discover import DISTRIBUTIONS
from value_steer import versions
from value_steer.contracts.sources import index, pip_config
from value_steer.errors import ContractError
from value_steer.registry.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.contracts.sources.index import IndexWheel
    from value_steer.registry.rows import Row

_INSTALLED_BY_EXTRA = DISTRIBUTIONS["cuda"]


@dataclass(frozen=True, slots=True)
class Found:
    """The index's state of tested releases.

    Attributes:
        withdrawn: New rows, one for each cell that no longer holds.
        unlisted: Tested wheels that the index does not list. A mirror may be incomplete, so
            nothing follows from that.
    """

    withdrawn: tuple[Row, ...]
    unlisted: tuple[str, ...]


def recheck(rows: Sequence[Row]) -> Found:
    """Ask the index that pip is configured for.

    Raises:
        InfraError: It does not answer.
    """
    try:
        settings = pip_config.pip_settings()
        pages = {name: index.project_wheels(name, settings) for name in _DISTRIBUTIONS}
    except ContractError as error:
        msg = f"the wheels cannot be rechecked: {error}"
        raise InfraError(msg) from error
    return judge(rows, pages, datetime.now(timezone.utc))


def judge(rows: Sequence[Row], pages: dict[str, tuple[IndexWheel, ...]], now: datetime) -> Found:
    """The withdrawals that follow for the rows that hold.

    A cell is withdrawn with the wheel that it was tested on. A release of which the extra could
    install nothing but yanked wheels is withdrawn as a whole.

    Args:
        rows: The registry.
        pages: All wheels by distribution.
        now: In UTC.
    """
    listed = {w.sha256: w for wheels in pages.values() for w in wheels}
    gone = _yanked_releases(pages[_INSTALLED_BY_EXTRA])
    withdrawn, unlisted = [], []
    for row in versions.current(rows).values():
        if row.verdict is not Verdict.PASSED:
            continue
        wheel = listed.get(row.upstream.sha256 or "")
        if wheel is None:
            unlisted.append(str(row.upstream.wheel))
        reason = ""
        if wheel is not None and wheel.yanked:
            reason = f"{wheel.filename} was yanked"
        elif Version(row.cell.vllm) in gone:
            reason = f"every wheel of {_INSTALLED_BY_EXTRA} {row.cell.vllm} was yanked"
        if reason:
            withdrawn.append(_withdrawn(row, reason, now))
    return Found(tuple(withdrawn), tuple(dict.fromkeys(unlisted)))


def _yanked_releases(wheels: Sequence[IndexWheel]) -> set[Version]:
    offered = {wheel.version for wheel in wheels if not wheel.yanked}
    return {wheel.version for wheel in wheels} - offered


def _withdrawn(row: Row, reason: str, now: datetime) -> Row:
    return replace(
        row,
        verdict=Verdict.WITHDRAWN,
        reason=reason,
        recorded_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


_DISTRIBUTIONS = tuple(DISTRIBUTIONS.values())
