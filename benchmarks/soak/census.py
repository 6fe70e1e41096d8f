"""Counts what is alive in each process of a server; runs there.

vLLM loads its plug-ins in all of its processes. This one is beside the folder ``plugin``, which the
soak puts on ``PYTHONPATH``.
"""

from __future__ import annotations

import gc
import json
import os
import signal
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_steer.records.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "VALUE_STEER_SOAK_CENSUS"
"""The variable that says where a process writes ``PID.json`` when it gets the signal."""
SIGNAL = signal.SIGUSR2
_SIZED = (dict, list, set, deque)


def register() -> None:
    """Let this process count when it is told to; safe to call any number of times.

    Raises:
        ValueError: It is not its main thread that calls.
    """
    path = Path(os.environ[FOLDER], f"{os.getpid()}.json")

    def count(*_: object) -> None:
        write_atomically(path, json.dumps(census()).encode())

    signal.signal(SIGNAL, count)


def census(package: str = "value_steer") -> dict[str, int]:
    """How many objects of each class of a package are alive, and how much their containers hold."""
    gc.collect()
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if not name.startswith(f"{package}."):
            continue
        found[name] += 1
        for attribute, value in _attributes(one):
            if isinstance(value, _SIZED):
                found[f"{name}.{attribute}"] += len(value)
    return dict(sorted(found.items()))


def _attributes(one: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  (any object)
    yield from list(getattr(one, "__dict__", {}).items())
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(one, name):
                yield name, getattr(one, name)
