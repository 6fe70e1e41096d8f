"""Time and memory of ``value-steer-compat --all``, with an empty cache and with a full one.

Memory is the peak of all processes together. ``python benchmarks/sweep.py --repetitions 3``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_COMMAND = (sys.executable, "-m", "value_steer.compat_check", "--all", "--json")
_INTERVAL = 0.02
_MEBI = 1 << 20


@dataclass(frozen=True, slots=True)
class Measurement:
    """One sweep.

    Attributes:
        seconds: From the start of the command to its end.
        processor: Seconds of processor time, its worker processes included.
        peak: Resident bytes of all its processes together, at most.
        releases: How many releases it read.
    """

    seconds: float
    processor: float
    peak: int
    releases: int

    def __str__(self) -> str:
        used = f"{self.processor:.2f} s of processor, {self.peak / _MEBI:.0f} MiB"
        return f"{self.releases} releases in {self.seconds:.2f} s ({used})"


def main() -> None:
    """Sweep with an empty cache and again with what that left behind; print each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1, help="pairs of cold and warm")
    for _ in range(parser.parse_args().repetitions):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("cold", "warm"):
                print(f"{name}: {measure(Path(folder))}", flush=True)


def measure(cache: Path) -> Measurement:
    """Run one sweep with this cache.

    Raises:
        SystemExit: It could not be carried out.
    """
    environment = {**os.environ, "VALUE_STEER_CACHE": str(cache)}
    before, started = _processor_seconds(), time.perf_counter()
    process = subprocess.Popen(_COMMAND, env=environment, stdout=subprocess.PIPE)
    peaks = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_INTERVAL):
            peaks.append(_resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - started
    ended.set()
    watcher.join()
    if process.returncode not in {0, 1}:
        raise SystemExit(process.returncode)
    releases = len(json.loads(output)["releases"])
    return Measurement(seconds, _processor_seconds() - before, max(peaks), releases)


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _resident(root: int) -> int:
    """Resident bytes of a process and its children, as the kernel counts them now."""
    total = 0
    pending = [root]
    while pending:
        pid = pending.pop()
        folder = Path(f"/proc/{pid}")
        try:
            total += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            children = (folder / "task" / str(pid) / "children").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it ended in the meantime
            continue
        pending += map(int, children.split())
    return total


if __name__ == "__main__":
    main()
