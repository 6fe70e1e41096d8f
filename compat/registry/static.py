"""The contracts in the sources of all releases, for the registry; nothing is installed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timezone
from itertools import product
from typing import TYPE_CHECKING

from compat.checkout import contracts_digest
from compat.errors import InfraError
from compat.releases.upstream import Upstream
from value_steer.contracts.history.changes import changes, default_changes
from value_steer.contracts.history.sweep import Unread, sweep
from value_steer.contracts.history.text import change_lines, default_lines
from value_steer.contracts.report import Status
from value_steer.contracts.sources import index, pip_config
from value_steer.contracts.sources.wheel import cache_folder
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError
from value_steer.registry.model import StaticCheck

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from compat.releases.candidates import Candidate
    from value_steer.contracts.history.snapshot import Snapshot
    from value_steer.contracts.sources.index import IndexWheel

_PROJECT = "vllm"


@dataclass(frozen=True, slots=True)
class Survey:
    """The contracts in the sources of the releases.

    Attributes:
        checks: Whether the contracts hold.
        upstream: What each release changed, and when it appeared.
    """

    checks: tuple[StaticCheck, ...]
    upstream: tuple[Upstream, ...]


def survey(candidates: Sequence[Candidate]) -> Survey:
    """Read each release's source out of its wheel and check every contract.

    Raises:
        InfraError: The index or a wheel cannot be read, or has no wheel of a candidate.
    """
    try:
        settings = pip_config.pip_settings()
        wheels = index.for_reading(index.project_wheels(_PROJECT, settings))
        of_candidates = _of(candidates, wheels)
        found = sweep(of_candidates, settings, cache_folder())
    except ContractError as error:
        raise InfraError(str(error)) from error
    # What is recorded takes the place of all that was, so it has to be of every release.
    history = tuple(one for one in found if not isinstance(one, Unread))
    if unread := [f"{one.version}: {one.reason}" for one in found if isinstance(one, Unread)]:
        raise InfraError("; ".join(unread))
    digest = contracts_digest()
    pairs = tuple(zip(of_candidates, history, strict=True))
    return Survey(
        tuple(check for wheel, taken in pairs for check in checks(wheel, taken, digest)),
        upstream(of_candidates, history),
    )


def upstream(wheels: Sequence[IndexWheel], history: Sequence[Snapshot]) -> tuple[Upstream, ...]:
    """When each release appeared, and what it changed since the one before it."""
    rules, names = [*default_changes(history)], [*changes(history)]
    found = []
    for wheel, taken in zip(wheels, history, strict=True):
        lines = (
            *default_lines(change for change in rules if change.version == taken.version),
            *change_lines(change for change in names if change.version == taken.version),
        )
        prefix = f"changed in {taken.version}: "
        found.append(
            Upstream(
                vllm=str(wheel.version),
                uploaded=_moment(wheel.uploaded),
                runner_default=taken.runner_default.condition,
                changes=tuple(line.removeprefix(prefix) for line in lines),
            )
        )
    return tuple(found)


def _moment(uploaded: datetime | None) -> str | None:
    if uploaded is None:
        return None
    return uploaded.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def checks(wheel: IndexWheel, taken: Snapshot, digest: str) -> Iterator[StaticCheck]:
    """One for each runner and mode that need anything of vLLM."""
    for runner, mode in product(Runner, Mode):
        if needed := taken.needed(mode, runner):
            yield StaticCheck(
                vllm=str(wheel.version),
                runner=runner.value,
                mode=mode.value,
                checked=len(needed),
                broken=tuple(sorted(s.id for s in needed if s.status is not Status.OK)),
                wheel=wheel.filename,
                wheel_sha256=wheel.sha256,
                contracts_digest=digest,
            )


def _of(candidates: Sequence[Candidate], wheels: Sequence[IndexWheel]) -> tuple[IndexWheel, ...]:
    found = {wheel.version: wheel for wheel in wheels}
    if missing := [str(c.version) for c in candidates if c.version not in found]:
        msg = (
            f"the index has no wheel of vLLM {', '.join(missing)}; `nox -s matrix` lists them anew"
        )
        raise InfraError(msg)
    return tuple(found[candidate.version] for candidate in candidates)
