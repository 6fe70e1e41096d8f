"""The record of a soak."""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.soak import gates
from benchmarks.soak.comparison import difference, left, pair_of, unjudged
from benchmarks.soak.schedule import CYCLE
from compat import git

if TYPE_CHECKING:
    from benchmarks.soak.client import Answer
    from benchmarks.soak.schedule import Arrival, Template

_ROOT = Path(__file__).parent.parent.parent
SHOWN = 50
"""Failures of a kind that are written out; all are counted."""

Key = tuple[int, "int | None"]
"""Number of a template, and of the server's thresholds if they apply to it."""


@dataclass(frozen=True)
class Usage:
    """A process's memory and processor time.

    Attributes:
        name: What it is.
        resident: Bytes of memory.
        processor: Seconds of processor time so far.
    """

    name: str
    resident: int
    processor: float


@dataclass(frozen=True)
class Sample:
    """The machine and the server's processes at a moment.

    Attributes:
        finished: Requests that have ended so far.
        tokens: Given out so far.
        load: Processes that want a processor, over the last minute.
        busy: Seconds that the machine's processors have worked, for whomever.
        own: Those of the soak itself.
        at: Seconds of the monotonic clock.
        usage: Of each process.
    """

    finished: int
    tokens: int
    load: float
    busy: float
    own: float
    at: float
    usage: list[Usage]


@dataclass
class Change:
    """Of the server's thresholds.

    Attributes:
        pair: Number of the new ones.
        sent: When the server was told.
        taken: When it had said that they apply.
    """

    pair: int
    sent: float
    taken: float = math.inf


@dataclass
class Record:
    """A run.

    Attributes:
        seed: Of the run.
        commit: Of the code.
        settings: What was asked for.
        alone: The answers that were given alone, before.
        changes: Of the server's thresholds, in order.
        cycles: Times between tokens, by cycle and bin.
        failed: How often what must not be has happened.
        shown: The first times of each.
        before: What was alive before the load, by process.
        after: What was alive when all of it had ended.
        log: What the server's log says of failures.
        ended: How the run did.
    """

    seed: int
    commit: str
    settings: dict[str, Any]
    alone: dict[Key, Answer] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    finished: int = 0
    tokens: int = 0
    compared: int = 0
    judged: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    cycles: dict[int, Counter[int]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=dict)
    before: dict[str, dict[str, int]] = field(default_factory=dict)
    after: dict[str, dict[str, int]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    asynchronous: bool = False
    log: list[str] = field(default_factory=list)
    ended: str = "running"

    @property
    def plain(self) -> bool:
        """Whether the server is without value-steer."""
        return bool(self.settings["plain"])

    def take(self, arrival: Arrival, template: Template, answer: Answer) -> None:
        """Take in an answer under load."""
        self.finished += 1
        self.tokens += len(answer.tokens)
        self.kinds["hung up" if left(answer) else f"{template.kind} {answer.status}"] += 1
        times = self.cycles.setdefault(arrival.number // CYCLE, Counter())
        times.update(map(gates.bin_of, answer.gaps))
        self._compare(arrival, template, answer)
        if answer.told is not None:
            self.judged += 1
            if (why := unjudged(answer)) is not None:
                self.fail("unjudged", arrival, template, why)
        elif answer.finish is not None and not self.plain:
            self.fail("without outcome", arrival, template, "the answer says nothing of steering")

    def fail(self, what: str, arrival: Arrival, template: Template, why: str) -> None:
        """Something that must not be has happened."""
        self.failed[what] += 1
        first = self.shown.setdefault(what, [])
        if len(first) < SHOWN:
            first.append(
                f"request {arrival.number}, template {template.number} ({template.kind}): {why}; "
                f"to replay: --seed {self.seed} --requests {arrival.number + CYCLE} "
                f"at {self.commit}; the request: {json.dumps(template.body)}"
            )

    def _compare(self, arrival: Arrival, template: Template, answer: Answer) -> None:
        self.compared += 1
        pairs: list[int | None] = [*self._in_force(answer)] if template.follows else [None]
        if template.follows and answer.told is not None:
            told = pair_of(answer.told)
            if told not in pairs:
                why = f"thresholds {told} applied, and {pairs} were in force"
                self.fail("threshold", arrival, template, why)
                return
            pairs = [told]
        found = [difference(self.alone[template.number, pair], answer) for pair in pairs]
        if all(why is not None for why in found):
            self.fail("difference", arrival, template, "; or ".join(map(str, found)))

    def _in_force(self, answer: Answer) -> list[int]:
        """The server's thresholds that may have applied to an answer."""
        # Both times only grow. A run makes thousands of changes and asks this of every answer.
        past = bisect_right(self.changes, answer.ended, key=lambda change: change.sent)
        next_taken = bisect_left(self.changes, answer.started, lo=1, key=lambda c: c.taken)
        return [change.pair for change in self.changes[next_taken - 1 : past]]


def commit() -> str:
    """The commit of this checkout, and whether files of it are changed."""
    head = git.text(_ROOT, "rev-parse", "HEAD") or "no commit"
    return head + (" and changes" if git.text(_ROOT, "status", "--porcelain") else "")
