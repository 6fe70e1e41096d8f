"""Holds the rows against a source tree."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from value_steer.contracts import derived
from value_steer.contracts.lookup import FileMissingError, Sources, SymbolMissingError
from value_steer.contracts.report import Finding, Report, Status
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.surface import Runner
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from value_steer.contracts.sources.tree import SourceTree
    from value_steer.contracts.surface import Mode, Surface


def check(tree: SourceTree, modes: Iterable[Mode], runners: Iterable[Runner] = Runner) -> Report:
    """Check every row that one of ``modes`` needs on one of ``runners``; no finding raises.

    Raises:
        ContractError: The tree states its version in a way that cannot be read.
    """
    return check_sources(tree.version(), Sources(tree), modes, runners)


def check_sources(
    version: str | None,
    sources: Sources,
    modes: Iterable[Mode],
    runners: Iterable[Runner] = Runner,
) -> Report:
    """As :func:`check`, on sources that the caller goes on to use."""
    started = time.perf_counter()
    wanted, built = tuple(modes), tuple(runners)
    findings = tuple(
        examine(surface, sources)
        for surface in SURFACES
        if surface.modes.intersection(wanted)
        and surface.runners.intersection(built)
        and surface.is_asked_of(version)
    )
    return Report(version, wanted, built, findings, time.perf_counter() - started)


def examine(surface: Surface, sources: Sources) -> Finding:
    """Check one row; nothing that is found raises."""
    try:
        symbol = sources.find(surface.path, surface.symbol)
        problem = surface.need.problem(symbol, sources) or derived.problem(surface, symbol, sources)
    except FileMissingError as err:
        return Finding(surface, Status.MISSING_FILE, str(err))
    except SymbolMissingError as err:
        return Finding(surface, Status.MISSING_SYMBOL, str(err))
    except ContractError as err:
        return Finding(surface, Status.UNREADABLE, str(err))
    except RecursionError:  # parsed, and still deeper than what looks at it can go
        return Finding(surface, Status.UNREADABLE, f"{surface.path} is nested too deeply")
    return Finding(surface, Status.BROKEN if problem else Status.OK, problem or "")
