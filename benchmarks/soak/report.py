"""The gates of a run and its report."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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


def gates_of(record: Record) -> list[Gate]:
    """What a run shows so far."""
    warm = _warm(record)
    whole = [record.cycles[number] for number in sorted(record.cycles)][:-1]
    differ = record.failed["difference"] + record.failed["threshold"]
    found = [
        gates.none_of("answers as alone", differ, record.compared, "differ"),
        gates.drift(whole, warm // CYCLE + 1, record.seed),
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
        "thirds": thirds(record.samples, _warm(record)),
        "metrics": {k: v for k, v in record.metrics.items() if not k.endswith("_created")},
        "samples": [asdict(sample) for sample in record.samples[::step]],
        "alive": {"before": record.before, "after": record.after},
    }
    write_atomically(path, json.dumps(report, indent=1).encode() + b"\n")


def thirds(samples: Sequence[Sample], warm: int) -> list[dict[str, Any]]:
    """What the machine did in each third of the run that counts.

    Processor time per token stays the same where only the machine is busy with other work.

    Args:
        samples: Of the run.
        warm: Requests after which they count.
    """
    counted = [sample for sample in samples if sample.finished >= warm]
    size = len(counted) // 3
    if size < 2:
        return []
    found = []
    for part in (counted[:size], counted[size:-size], counted[-size:]):
        first, last = part[0], part[-1]
        used = sum(u.processor for u in last.usage) - sum(u.processor for u in first.usage)
        tokens = last.tokens - first.tokens
        loads = [sample.load for sample in part]
        found.append(
            {
                "requests": last.finished - first.finished,
                "load average": round(sum(loads) / len(loads), 2),
                "processor milliseconds per token": round(1000 * used / max(tokens, 1), 4),
            }
        )
    return found


def _warm(record: Record) -> int:
    """Requests after which a run counts: all that is kept, or a fifth of a short one."""
    return gates.KEPT if record.finished >= 2 * gates.KEPT else record.finished // 5


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
        "changes of thresholds": len(record.changes) - 1,
        "asynchronous": record.asynchronous,
    }
    says = ", ".join(f"{int(value)} {name}" for name, value in had.items())
    return Gate("load", "held" if all(had.values()) else "not shown", says, had)


def _processes(record: Record) -> list[str]:
    return list(dict.fromkeys(u.name for sample in record.samples for u in sample.usage))
