"""The gates of a run and its report."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.soak import gates
from benchmarks.soak.gates import Gate
from benchmarks.soak.record import SHOWN
from benchmarks.soak.schedule import CYCLE
from value_steer.records.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.soak.record import Record, Sample

_MOST_SAMPLES = 300
_MOST_OTHERS = 0.05
"""Processors that other work may take more in the last third than in the first."""


def gates_of(record: Record) -> list[Gate]:
    """The gates of a run, by what it has shown so far."""
    differ = record.failed["difference"] + record.failed["threshold"]
    found = [
        gates.none_of("answers as alone", differ, record.compared, "differ"),
        _cost(record),
        _drift(record),
        *(_memory(record, name) for name in _processes(record)),
    ]
    if record.plain:
        return found
    unjudged = record.failed["unjudged"]
    swallowed = record.metrics.get("value_steer_swallowed_errors_total", 0)
    unscored = record.metrics.get("value_steer_unscored_tokens_total", 0)
    others = record.failed["without outcome"] + record.failed["connection"]
    errors = others + len(record.log) + int(swallowed) + int(unscored)
    return [
        *found,
        gates.none_of("judged", unjudged, record.judged, "have a token that was not"),
        gates.leftovers(record.before, record.after),
        gates.none_of("errors", errors, record.finished, "requests"),
        _load(record),
    ]


def write(record: Record, path: Path, found: Sequence[Gate]) -> None:
    """Write the report of what there is, whole or not at all.

    Args:
        record: The run.
        path: Of the report.
        found: Its gates; none while it runs, because they take time.
    """
    step = len(record.samples) // _MOST_SAMPLES + 1
    report = {
        "ended": record.ended,
        "seed": record.seed,
        "commit": record.commit,
        "settings": record.settings,
        "machine": {"python": platform.python_version(), "cores": os.cpu_count()},
        "seconds": round(time.monotonic() - record.started, 1),
        "requests": record.finished,
        "tokens": record.tokens,
        "gates": [asdict(gate) for gate in found],
        "kinds": dict(sorted(record.kinds.items())),
        "failures": {
            name: {"count": count, "first": record.shown.get(name, [])}
            for name, count in record.failed.items()
        },
        "log": record.log[:SHOWN],
        "cycles": [gates.summary(record.cycles[number]) for number in sorted(record.cycles)],
        "thirds": [asdict(third) for third in thirds(record.samples, _warm(record))],
        "metrics": {k: v for k, v in record.metrics.items() if not k.endswith("_created")},
        "samples": [asdict(sample) for sample in record.samples[::step]],
        "alive": {"before": record.before, "after": record.after},
    }
    write_atomically(path, json.dumps(report, indent=1).encode() + b"\n")


@dataclass(frozen=True)
class Third:
    """The machine in a third of the run that counts.

    Attributes:
        requests: That ended.
        load: Processes that wanted a processor, on average.
        others: Processors that were busy with something else, on average.
        cost: Milliseconds of the server's processor time per token; it stays where only the machine
            is busy with other work.
    """

    requests: int
    load: float
    others: float
    cost: float


def thirds(samples: Sequence[Sample], warm: int) -> list[Third]:
    """The thirds of a run; none of one that is too short.

    Args:
        samples: Of the run.
        warm: Requests after which they count.
    """
    counted = [sample for sample in samples if sample.finished >= warm]
    size = len(counted) // 3
    parts = (counted[:size], counted[size:-size], counted[-size:])
    return [_third(part) for part in parts] if size > 1 else []


def _third(part: Sequence[Sample]) -> Third:
    first, last = part[0], part[-1]
    server = sum(u.processor for u in last.usage) - sum(u.processor for u in first.usage)
    others = last.busy - first.busy - server - (last.own - first.own)
    return Third(
        requests=last.finished - first.finished,
        load=round(sum(sample.load for sample in part) / len(part), 2),
        others=round(others / max(last.at - first.at, 1.0), 3),
        cost=round(1000 * server / max(last.tokens - first.tokens, 1), 4),
    )


def _cost(record: Record) -> Gate:
    samples = record.samples
    return gates.cost(
        [sample.finished for sample in samples],
        [sample.tokens for sample in samples],
        [sum(usage.processor for usage in sample.usage) for sample in samples],
        _warm(record),
        CYCLE,
    )


def _drift(record: Record) -> Gate:
    """Where other work took more of the machine in the end, slower tokens show nothing."""
    warm = _warm(record)
    whole = [record.cycles[number] for number in sorted(record.cycles)][:-1]
    gate = gates.drift(whole, warm // CYCLE + 1, record.seed)
    if not (found := thirds(record.samples, warm)):
        return gate
    first, last = found[0], found[-1]
    says = (
        f"{gate.says}; other work took {first.others:.2f} processors, then {last.others:.2f}; a "
        f"token took the server {first.cost:.2f} ms of a processor, then {last.cost:.2f}"
    )
    disturbed = last.others - first.others > _MOST_OTHERS
    verdict = "not shown" if disturbed and gate.verdict == "broken" else gate.verdict
    return replace(gate, verdict=verdict, says=says)


def _warm(record: Record) -> int:
    """Requests after which a run counts: all that is kept, and a third of a long run."""
    if record.finished < 2 * gates.KEPT:
        return record.finished // 5
    return max(gates.KEPT, record.finished // 3)


def _memory(record: Record, name: str) -> Gate:
    if record.finished < 2 * gates.KEPT:
        says = f"{record.finished} requests, and it needs {2 * gates.KEPT}"
        return Gate(f"memory of {name}", "not shown", says)
    known = [
        (sample.finished, usage.resident)
        for sample in record.samples
        for usage in sample.usage
        if usage.name == name
    ]
    return gates.memory(name, [x for x, _ in known], [y for _, y in known], _warm(record))


def _load(record: Record) -> Gate:
    """A load that did not do what it is for has shown nothing."""
    had = {
        "preemptions": record.metrics.get("vllm:num_preemptions_total", 0),
        "hang-ups": record.kinds["hung up"],
        "refusals": record.kinds["wrong 400"],
        "changes of thresholds": max(len(record.changes) - 1, 0),
        "asynchronous": record.asynchronous,
    }
    says = ", ".join(f"{int(value)} {name}" for name, value in had.items())
    return Gate("load", "held" if all(had.values()) else "not shown", says, had)


def _processes(record: Record) -> list[str]:
    return list(dict.fromkeys(u.name for sample in record.samples for u in sample.usage))
