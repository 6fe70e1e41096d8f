"""Many runs: ``python -m tests.engine.simulation --traces 100000 --seed 0``."""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback

import torch

from tests.engine.simulation.check import drawn, failed, shrunk


def main() -> int:
    """Run the traces of consecutive seeds; a failing one is printed with a simpler one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first trace")
    parser.add_argument("--failures", type=int, default=1, help="after how many to stop")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start, failures = time.process_time(), 0
    for seed in range(args.seed, args.seed + args.traces):
        trace = drawn(random.Random(seed))  # noqa: S311  (no secret)
        if failed(trace) is not None:
            failures += 1
            trace, failure = shrunk(trace)
            lines = traceback.format_exception(failure)[-3:]
            sys.stdout.write(f"seed {seed}: {trace}\n{''.join(lines)}\n")
            sys.stdout.flush()
            if failures == args.failures:
                break
    seconds = time.process_time() - start
    sys.stdout.write(f"{seed - args.seed + 1} traces, {failures} failures, {seconds:.1f} s\n")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
