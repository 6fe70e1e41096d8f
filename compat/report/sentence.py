"""One sentence for one reader: what holds where they run, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat.report.model import Column, Sentence, State
from value_steer.contracts.surface import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compat.report.model import Contracts, Device, Finding

_MODES = {Mode.ABSTAIN.value: "abstention", Mode.VFD.value: "value filtering"}
_NAMED = 2
_BAD = (State.FAILED, State.WITHDRAWN, State.UNSUPPORTED, State.BROKEN)
_NEVER = (State.NEVER, State.NO_HOST, State.UNSCHEDULED, State.NO_BUILD)


@dataclass(frozen=True, slots=True)
class Part:
    """One model runner: a finding for each mode, and its contracts."""

    runner: str
    contracts: Contracts
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who reads, and all that is known of what they run.

    Attributes:
        vllm: The release.
        device: What they run it on.
        runner: In the words of the sentence: ``V2``, ``its default runner, V2``.
        parts: One for each model runner that this may be.
        elsewhere: Where the release passed otherwise, in words.
        last_good: The newest release that passed there.
        command: What would settle it; ``None`` if nothing can.
    """

    vllm: str
    device: Device
    runner: str
    parts: tuple[Part, ...]
    elsewhere: tuple[str, ...]
    last_good: str | None
    command: str | None


def sentence(asked: Asked) -> Sentence:
    """The sentence for one reader."""
    told = {
        (part.runner, finding.mode): _told(asked, part, finding)
        for part in asked.parts
        for finding in part.findings
    }
    findings = [finding for part in asked.parts for finding in part.findings]
    gravest = max((finding.state for finding in findings), key=lambda state: state.gravity)
    advice, command = _advice(asked, gravest)
    where = f"You run {asked.vllm} on {asked.device.phrase} with {asked.runner}"
    return Sentence(gravest.symbol, f"{where}: {_joined(told)}; {advice}.", command)


def _told(asked: Asked, part: Part, finding: Finding) -> str:
    """The words for one mode on one runner."""
    state = finding.state
    if state is State.BROKEN:
        count = len(finding.broken)
        lacks = "1 contract does not hold" if count == 1 else f"{count} contracts do not hold"
        named = ", ".join(finding.broken[:_NAMED]) + (", …" if count > _NAMED else "")
        return f"value-steer cannot bind to it, because {lacks} ({named})"
    if state in _NEVER:
        return f"{part.contracts.value}, {_never(asked, state)}"
    return _ran(finding)


def _never(asked: Asked, state: State) -> str:
    passed = f", though it passed on {' and '.join(asked.elsewhere)}" if asked.elsewhere else ""
    if state is State.NO_BUILD:
        family = "GPU" if asked.device.column is Column.GPU else "CPU"
        return (
            f"never run {asked.device.there}, since the index has no {family} build of it{passed}"
        )
    return f"never run {asked.device.there}{passed}"


def _ran(finding: Finding) -> str:
    row = finding.row
    day = row.recorded_at[:10] if row else "an unknown day"
    cause = row.cause.value if row and row.cause else ""
    return {
        State.VALIDATED: f"validated on {day}, with this code",
        State.OLD: f"passed with this code on {day}, {finding.days} days ago",
        State.STALE: f"passed on {day}, with other code of value-steer",
        State.FAILED: f"known not to work ({cause}, {day})",
        State.WITHDRAWN: f"its evidence was withdrawn on {day}",
        State.UNSUPPORTED: f"declared unsupported on {day}",
        State.NO_VERDICT: f"its last run, on {day}, came to no verdict",
    }[finding.state]


def _advice(asked: Asked, gravest: State) -> tuple[str, str | None]:
    if gravest in _BAD:
        if asked.last_good is None:
            return "no release is known to work there", asked.command
        return f"use {asked.last_good}, the newest that passed there", asked.command
    if gravest is State.VALIDATED:
        return "nothing to do", None
    if gravest is State.NO_BUILD or asked.command is None:
        is_unbuilt = gravest is State.NO_BUILD
        return "there is nothing to run" if is_unbuilt else "the matrix has no lane for it", None
    if gravest in (State.STALE, State.OLD):
        return "run this command to renew it", asked.command
    return "run this command to find out", asked.command


def _joined(told: dict[tuple[str, str], str]) -> str:
    """The words, with what is the same of several runners and modes said once."""
    clauses: dict[str, list[tuple[str, str]]] = {}
    for place, clause in told.items():
        clauses.setdefault(clause, []).append(place)
    if len(clauses) == 1:
        return next(iter(clauses))
    named = [f"{_name(places, list(told))}: {clause}" for clause, places in clauses.items()]
    return "; ".join(named)


def _name(places: Sequence[tuple[str, str]], every: Sequence[tuple[str, str]]) -> str:
    runners = list(dict.fromkeys(runner for runner, _ in every))
    modes = list(dict.fromkeys(mode for _, mode in every))
    names = []
    for runner in runners:
        here = [mode for own, mode in places if own == runner]
        what = " and ".join(_MODES.get(mode, mode) for mode in here)
        prefix = f"{runner.upper()} " if len(runners) > 1 else ""
        if here:
            names.append(prefix.strip() if here == modes and prefix else f"{prefix}{what}")
    return ", ".join(names)
