"""A short run of the faults that ``nox -s faults`` brings about by the hundred."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
JOBS = ("registry writer", "fragments writer", "capture", "head save .safetensors", "head save .pt")


def test_a_fault_at_any_point_loses_nothing() -> None:
    """Killed, ended or out of disk: no file is torn, and the next run does the rest."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults", "--trials", "30", "--jobs"]
    done = subprocess.run(
        [*command, *JOBS], cwd=ROOT, capture_output=True, text=True, check=False, timeout=500
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 trials from seed 0" in done.stdout
    assert " 0 broken promises" in done.stdout
