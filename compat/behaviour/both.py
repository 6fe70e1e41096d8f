"""Runs the suite and its negative control: ``python -m compat.behaviour.both OUT ARGUMENT ...``.

Each asks one engine at a time, so that side by side they keep two cores busy.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEAD = {"VALUE_STEER_SUITE_WORKER": "compat.behaviour.dead.DeadWorker"}


def main(argv: Sequence[str]) -> int:
    """Leave ``suite.xml``, ``suite.log``, ``control.xml`` and ``control.log`` in a folder.

    Further arguments are pytest's.

    Returns:
        0 when both have come to an end; how is in the reports.
    """
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("out", type=Path)
    parser.add_argument("--in-turn", action="store_true", help="one after the other")
    asked, arguments = parser.parse_known_args(argv)
    suite = _start("suite", asked.out, arguments, {})
    if asked.in_turn:
        suite.wait()
    control = _start("control", asked.out, [*arguments, "-m", "detects_dead"], _DEAD)
    suite.wait()
    control.wait()
    return 0


def _start(
    name: str, out: Path, arguments: Sequence[str], env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    report = [f"--junitxml={out / name}.xml", "-o", "junit_family=xunit2"]
    with (out / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments, *report],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
