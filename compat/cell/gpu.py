"""Whether this machine can run the CUDA lane."""

from __future__ import annotations

import re
import shutil
import subprocess

from compat.errors import InfraError


def lane() -> str:
    """The lane of this machine: ``cuda-sm90``, ... for its first GPU, else ``cpu``.

    Raises:
        InfraError: There is a driver, and it does not answer or knows no compute capability.
    """
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return "cpu"
    query = [smi, "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _broken(smi, str(error)) from error
    if done.returncode != 0:
        return "cpu"
    capability = done.stdout.strip().partition("\n")[0]
    if re.fullmatch(r"\d+\.\d", capability) is None:
        raise _broken(smi, f"it names the compute capability {capability!r}")
    return "cuda-sm" + capability.replace(".", "")


def _broken(smi: str, why: str) -> InfraError:
    return InfraError(f"{smi} gives no compute capability: {why}; repair the driver or remove it")
