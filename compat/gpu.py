"""Whether this machine can run the CUDA lane."""

from __future__ import annotations

import shutil
import subprocess


def lane() -> str:
    """The lane of this machine: ``cuda-sm90``, ... for its first GPU, else ``cpu``."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return "cpu"
    query = [smi, "--query-gpu=compute_cap", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)
    capabilities = done.stdout.split()
    if done.returncode != 0 or not capabilities:
        return "cpu"
    return "cuda-sm" + capabilities[0].replace(".", "")
