"""``python -m tests.fuzz --examples N --seed S``: made-up inputs for every reader, and a table."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.fuzz.run import Tally, examine
from tests.fuzz.targets import TARGETS

_SHOWN = 400


def main(argv: list[str] | None = None) -> int:
    """Fuzz every target; 1 if anything but our errors got out of one."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--examples", type=int, default=20_000, help="in all (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same one gives the same examples")
    parser.add_argument("--targets", nargs="+", metavar="WORD", help="only those with such a name")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    chosen = [
        t for t in TARGETS if given.targets is None or any(w in t.name for w in given.targets)
    ]
    if not chosen or given.examples < 1:
        parser.error(f"nothing to do; the targets are {', '.join(t.name for t in TARGETS)}")
    started = time.monotonic()
    sys.stdout.write("| target | examples | escapes | s |\n|---|---|---|---|\n")
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, target in enumerate(chosen):
            share = given.examples // len(chosen) + (number < given.examples % len(chosen))
            began = time.monotonic()
            tally = examine(target, Path(scratch, str(number)), share, given.seed)
            tallies[target.name] = tally
            took = time.monotonic() - began
            row = f"| {target.name} | {tally.examples} | {tally.escapes} | {took:.0f} |\n"
            sys.stdout.write(row)
            sys.stdout.flush()
    for name, tally in tallies.items():
        for kind, (example, trace) in tally.kinds.items():
            told = f"\n{name}: {kind}\n  {example[:_SHOWN]}\n{trace}\n"
            sys.stdout.write(told.encode(errors="backslashreplace").decode())
    examples, escapes = (
        sum(tally.examples for tally in tallies.values()),
        sum(tally.escapes for tally in tallies.values()),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    sys.stdout.write(
        f"{examples} examples of {len(tallies)} targets from seed {given.seed} at "
        f"{commit.stdout.strip()}: {escapes} escapes, {time.monotonic() - started:.0f} s\n"
    )
    return 1 if escapes else 0


if __name__ == "__main__":
    raise SystemExit(main())
