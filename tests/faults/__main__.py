"""``python -m tests.faults --trials N --seed S``: faults at random points, and a table of them."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from compat import checkout
from tests.faults.jobs import OURS, MatrixRun, every
from tests.faults.trials import Fault, Harness

FAULTS: tuple[Fault, ...] = ("SIGKILL", "SIGTERM", "full disk")


def main() -> int:
    """Run trials of every job in turn; 1 if a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--trials", type=int, default=300, help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first; each has its own")
    parser.add_argument("--jobs", nargs="+", metavar="JOB", help="only these")
    parser.add_argument("--fault", choices=FAULTS, help="only this one")
    parser.add_argument(
        "--every", action="store_true", help="instead: a kill at each point of the writers alone"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    faults = (options.fault,) if options.fault else FAULTS
    counts: Counter[tuple[tuple[str, str], str]] = Counter()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        wants_wheel = options.jobs is None or MatrixRun.name in options.jobs
        product = checkout.build(Path(name, "product"), "cpu") if wants_wheel else None
        jobs = every(product)
        chosen = options.jobs or [*jobs]
        harnesses = [Harness(jobs[job], Path(name, str(n))) for n, job in enumerate(chosen)]
        if options.every:
            return _every(harnesses)
        for number in range(options.trials):
            harness = harnesses[number % len(harnesses)]
            fault = faults[number // len(harnesses) % len(faults)]
            key = (harness.job.name, fault)
            seed = options.seed + number
            try:
                done = harness.trial(seed, fault)
            except (AssertionError, *OURS) as error:  # the latter: what is there cannot be read
                counts[key, "broken"] += 1
                sys.stdout.write(f"broken: {key} seed {seed}: {error}\n")
                sys.stdout.flush()  # before the next fork
                continue
            counts[key, "stopped" if done.ended else "coped"] += 1
            counts[key, "leftovers"] += done.leftovers
    _table(counts, [*dict.fromkeys(key for key, _ in counts)])
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    broken = sum(count for (_, what), count in counts.items() if what == "broken")
    sys.stdout.write(
        f"{options.trials} trials from seed {options.seed} at {commit.stdout.strip()}: {broken} "
        f"broken promises, {time.monotonic() - started:.0f} s\n"
    )
    return 1 if broken else 0


def _every(harnesses: list[Harness]) -> int:
    """Kill each job at each point of its writers; the first promise that is broken is raised."""
    for harness in harnesses:
        trials = [*harness.every_point()]
        left = sum(trial.leftovers for trial in trials)
        line = f"{harness.job.name}: killed at each of {len(trials)} points, {left} files left\n"
        sys.stdout.write(line)
        sys.stdout.flush()
    return 0


def _table(counts: Counter[tuple[tuple[str, str], str]], rows: list[tuple[str, str]]) -> None:
    columns = ("stopped", "coped", "leftovers", "broken")
    head = "| job | fault | trials | stopped by it | ended before or coped | files left | broken |"
    sys.stdout.write(f"{head}\n|{'---|' * 7}\n")
    for row in rows:
        found = [counts[row, column] for column in columns]
        trials = found[0] + found[1] + found[3]
        cells = map(str, (*row, trials, *found))
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    raise SystemExit(main())
