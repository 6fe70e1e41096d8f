"""Time and memory of ``value-steer-compat --all``, with an empty cache and with a full one.

Memory is the peak of all processes together.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

_COMMAND = (sys.executable, "-m", "value_steer.compat_check", "--all", "--json")
_INTERVAL = 0.02
_MEBI = 1 << 20


def main() -> None:
    """Run the sweep twice and print both measurements."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            before = _processor_seconds()
            seconds, peak = measure(Path(folder))
            used = _processor_seconds() - before
            print(f"{name}: {seconds:.2f} s ({used:.2f} s of processor), {peak / _MEBI:.0f} MiB")


def measure(cache: Path) -> tuple[float, int]:
    """Seconds and peak resident bytes of one sweep, its worker processes included."""
    environment = {**os.environ, "VALUE_STEER_CACHE": str(cache)}
    started = time.perf_counter()
    process = subprocess.Popen(_COMMAND, env=environment, stdout=subprocess.DEVNULL)
    peaks = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_INTERVAL):
            peaks.append(_resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - started
    ended.set()
    watcher.join()
    if code not in {0, 1}:
        raise SystemExit(code)
    return seconds, max(peaks)


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
